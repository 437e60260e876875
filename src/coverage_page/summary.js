// What stands around the map: the summary, the findings, the lists, the legend.

const $ = (id) => document.getElementById(id);
const whole = new Intl.NumberFormat("en");

function element(tag, classes, text) {
  const made = document.createElement(tag);
  if (classes) made.className = classes;
  if (text !== undefined) made.textContent = text;
  return made;
}

const many = (count, one, more = one + "s") => `${whole.format(count)} ${count === 1 ? one : more}`;

/** `3 days` or `7 hours` of a number of hours. */
const lasting = (hours) => (hours >= 48 ? many(Math.floor(hours / 24), "day") : many(hours, "hour"));

const KINDS = [
  ["silent", "silent", "No data in the last hours that the cluster has"],
  ["never", "never archived", "No data at all"],
  ["gaps", "with gaps", "Hours without data in which other hosts have some"],
  ["late", "late", "The first data came hours after that of the first host"],
  ["partly", "partly archived", "On disk, and only a part of it archived"],
  ["unknown", "not known", "An object could not be read"],
  ["fewer", "with fewer samples", `An hour with less than ${THIN} % of the samples that other hosts have`],
  ["complete", "complete", "Data in each hour in which other hosts have some"],
];

// Files that were set aside, of which so many are listed.
const MOST_FILES = 500;

const page = { data: null, cluster: null, map: null, pick: null, cursor: null, clusters: new Map() };

// From so many hours on no host is up to date, however many have the last data: a run archives every day at least.
const OLD = 48;

function headline(current, hosts, behind) {
  if (hosts === 0) return "There is no host";
  if (behind >= OLD) return `No host is up to date: no data for ${lasting(Math.floor(behind))}`;
  if (current < hosts) return `${whole.format(current)} of ${many(hosts, "host")} up to date`;
  return hosts === 1 ? "The only host is up to date" : `All ${many(hosts, "host")} up to date`;
}

function showSummary() {
  const { cluster, data } = page;
  const counts = cluster.counts();
  const hosts = cluster.hosts.length;
  const current = hosts - (counts.silent ?? 0) - (counts.never ?? 0);
  const behind = cluster.end === 0 ? 0 : data.made / 3600 - (cluster.epoch + cluster.end);
  $("headline").textContent = headline(current, hosts, behind);
  const age = behind >= 1 ? `, which was ${lasting(Math.floor(behind))} before this page was made` : "";
  const made = new Date(data.made * 1000).toISOString().slice(0, 16).replace("T", " ");
  $("range").textContent = cluster.end === 0 ? `Page of ${made} UTC` : `Data from ${cluster.time(cluster.start)} to ${cluster.time(cluster.end)} UTC${age}`;
  $("range").title = `Page of ${made} UTC`;
  $("tiles").replaceChildren(...KINDS.filter(([kind]) => counts[kind]).map(([kind, words, meaning]) => {
    const tile = element("button");
    tile.type = "button";
    tile.title = meaning;
    tile.dataset.kind = kind;
    tile.setAttribute("aria-pressed", "false");
    tile.append(element("span", `dot ${kind}`), element("b", "", whole.format(counts[kind])), element("span", "", words));
    tile.onclick = () => choose(page.pick?.kind === kind ? null : { kind, words, hosts: cluster.hosts.filter((host) => host.kind === kind).map((host) => host.at) });
    return tile;
  }));
  showFindings(6);
}

function showFindings(most) {
  const { cluster } = page;
  const findings = cluster.findings();
  $("findings").replaceChildren(...findings.slice(0, most).map((finding) => {
    const row = element("button");
    row.type = "button";
    row.append(element("span", `dot ${finding.kind}`), element("bdi", "who", whoOf(finding)), element("span", "what", whatOf(finding)), element("span", "age", ageOf(finding)));
    row.onclick = () => lookAt(finding);
    const item = element("li");
    item.append(row);
    return item;
  }));
  $("more").hidden = findings.length <= most;
  $("more").textContent = `All ${whole.format(findings.length)} findings`;
}

/** The hosts of a finding: `f0101–f0132`, or the first ones. */
function whoOf({ hosts }) {
  const name = (at) => page.cluster.hosts[at].name;
  if (hosts.length === 0) return "All hosts";
  if (hosts.length === 1) return name(hosts[0]);
  if (hosts.at(-1) - hosts[0] + 1 === hosts.length) return `${name(hosts[0])} – ${name(hosts.at(-1))}`;
  return hosts.length <= 3 ? hosts.map(name).join(", ") : `${name(hosts[0])}, ${name(hosts[1])} and ${whole.format(hosts.length - 2)} more`;
}

function whatOf({ kind, from, to, hosts, missing }) {
  const { cluster } = page;
  const group = hosts.length > 1 ? `${many(hosts.length, "host")} ` : "";
  switch (kind) {
    case "silent": return `${group}silent since ${cluster.time(from)}`;
    case "never": return `${group}never archived`;
    case "late": return `${group}first seen ${cluster.time(to)}`;
    case "outage": return `no data ${cluster.span(from, to)}`;
    case "partly": return `${group}on disk, only partly archived, ${cluster.span(from, to)}`;
    case "unknown": return `${group}not known, as an object could not be read, ${cluster.span(from, to)}`;
    default: return missing === to - from ? `${group}no data ${cluster.span(from, to)}` : `${group}no data for ${many(missing, "hour")} between ${cluster.time(from)} and ${cluster.time(to)}`;
  }
}

function ageOf({ kind, from, to, missing }) {
  if (kind === "late" || kind === "never") return "";
  return lasting(kind === "silent" || kind === "outage" ? to - from : kind === "gaps" ? missing : to - from);
}

/** Shows the hosts of a finding, and its hours with some around them. */
function lookAt(finding) {
  const { cluster, map } = page;
  const around = Math.max(12, Math.ceil((finding.to - finding.from) / 4));
  choose(finding.hosts.length ? { kind: "finding", words: whoOf(finding), hosts: finding.hosts } : null);
  map.view.show(Math.max(0, finding.from - around), Math.min(cluster.hours, finding.to + around));
  map.draw();
}

function showLists() {
  const { metrics = [], set_aside: aside = [] } = page.cluster.data;
  $("metrics").replaceChildren(...[...metrics].sort((a, b) => a.share - b.share).map(({ name, share }) => {
    const [row, bar] = [element("li"), element("i")];
    bar.style.setProperty("--share", `${share * 100}%`);
    const percent = share >= 1 ? "100 %" : `${Math.min(99.9, share * 100).toFixed(1)} %`;
    row.append(element("bdi", "", name), bar, element("span", "", percent));
    return row;
  }));
  $("aside-count").textContent = aside.length ? whole.format(aside.length) : "none";
  $("aside").hidden = aside.length === 0;
  const listed = aside.length > MOST_FILES ? [...aside.slice(0, MOST_FILES), { path: `and ${whole.format(aside.length - MOST_FILES)} more`, reason: "" }] : aside;
  $("aside").tBodies[0].replaceChildren(...listed.map(({ path, reason }) => {
    const row = element("tr");
    const file = element("td");
    file.append(element("bdi", "", path));
    row.append(file, element("td", "", reason));
    return row;
  }));
}

function showLegend() {
  const { cluster } = page;
  const item = (classes, text) => {
    const made = element("span", "", text);
    made.prepend(element("i", classes));
    return made;
  };
  const others = [[BEFORE, "before"], [WAITING, "waiting"], [PARTLY, "partly"], [UNKNOWN, "unknown"]].filter(([weight]) => cluster.has(weight));
  $("legend").replaceChildren(
    item("ramp", "samples, beside other hosts: all to few"),
    item("dot none", "no data"),
    ...others.map(([weight, kind]) => item(`dot ${kind}`, wordsOf(weight))),
    element("span", "rule", "A dot that stands for many cells has most of its colour from the worst of them."),
  );
}
