// Which cluster and hosts the page shows, and its beginning.

/** A picked group of hosts, or all. */
function choose(pick) {
  page.pick = pick;
  for (const tile of $("tiles").children) tile.setAttribute("aria-pressed", String(tile.dataset.kind === pick?.kind));
  $("picked").hidden = pick?.kind !== "finding";
  $("picked").textContent = pick ? `${pick.words} ✕` : "";
  $("picked").setAttribute("aria-label", `Show all hosts again, not only ${pick?.words}`);
  showHosts();
}

/** Tests a name by what somebody typed: parts of names, or patterns with `*`, with commas between them. */
function matcher(typed) {
  const parts = typed.split(",").map((part) => part.trim().toLowerCase()).filter(Boolean);
  const tests = parts.map((part) => {
    if (!part.includes("*")) return (name) => name.includes(part);
    const escaped = part.split("*").map((piece) => piece.replace(/[.+?^${}()|[\]\\]/g, "\\$&"));
    const pattern = new RegExp(`^${escaped.join(".*")}$`);
    return (name) => pattern.test(name);
  });
  return (name) => tests.length === 0 || tests.some((test) => test(name.toLowerCase()));
}

function showHosts() {
  const { cluster, map } = page;
  const fits = matcher($("filter").value);
  const picked = page.pick ? page.pick.hosts.map((at) => cluster.hosts[at]) : cluster.hosts;
  const hosts = picked.filter((host) => fits(host.name));
  if ($("order").value === "missing") {
    const lost = (host) => host.missing + host.head + host.tail;
    hosts.sort((a, b) => lost(b) - lost(a) || b.thin - a.thin || a.at - b.at);
  }
  $("nothing").hidden = hosts.length > 0;
  leaveCursor();
  map.setRows(cluster, hosts.map((host) => host.at));
}

// ---- begin ----

function wire() {
  const box = $("map");
  page.map = new HeatMap(box, $("drawing"));
  page.map.onDrawn = () => {
    const { cluster, map } = page;
    const [from, to] = [Math.floor(map.view.hour), Math.ceil(map.view.hour + map.view.hours)];
    box.style.touchAction = map.view.rows < map.view.allRows ? "none" : "pan-y"; // else a finger on the map could not scroll the page
    $("view").textContent = `${many(Math.round(map.view.rows), "host")}, ${cluster.time(from)} – ${cluster.time(to)}`;
  };
  followPointers(box);
  box.addEventListener("wheel", onWheel, { passive: false });
  box.addEventListener("keydown", onKey);
  box.addEventListener("focus", () => box.matches(":focus-visible") && enterCursor());
  box.addEventListener("blur", leaveCursor);
  box.addEventListener("dblclick", (event) => {
    const found = page.map.at(...point(event));
    page.map.view.zoom(2, found.across, found.down);
    page.map.draw();
  });
  $("filter").oninput = showHosts;
  $("order").onchange = showHosts;
  $("picked").onclick = () => choose(null);
  $("more").onclick = () => showFindings(Infinity);
  $("cluster").onchange = () => showCluster($("cluster").selectedIndex);
  const step = (factor) => () => {
    page.map.view.zoom(factor, 0.5, 0.5);
    leaveCursor();
    page.map.draw();
  };
  $("in").onclick = step(2);
  $("out").onclick = step(0.5);
  for (const button of document.querySelectorAll("[data-last]")) button.onclick = () => showLast(Number(button.dataset.last));
  new ResizeObserver(() => page.map.draw()).observe(box);
  for (const media of ["print", "(prefers-color-scheme: dark)", "(resolution: 1dppx)"]) matchMedia(media).addEventListener("change", () => page.map.drawNow());
}

/** The last hours that have data; 0 for all hours. */
function showLast(hours) {
  const { map, cluster } = page;
  const to = hours ? Math.max(hours, cluster.end) : cluster.hours;
  map.view.show(hours ? Math.max(0, to - hours) : 0, Math.min(to, cluster.hours));
  leaveCursor();
  map.draw();
}

async function showCluster(at) {
  const data = page.data.clusters[at];
  if (!page.clusters.has(at)) page.clusters = new Map([[at, await Cluster.of(data)]]); // one at a time: cells are large
  page.cluster = page.clusters.get(at);
  document.title = `Coverage of ${data.name}`;
  $("content").hidden = false;
  $("filter").value = "";
  showSummary();
  showLists();
  showLegend();
  choose(null);
}

async function begin() {
  page.data = JSON.parse($("data").textContent);
  const { archive, clusters } = page.data;
  $("archive").textContent = clusters.length === 1 ? `${clusters[0].name} in ${archive}` : archive;
  if (clusters.length === 0) throw new Error(`there is no cluster in ${archive}`);
  $("choice").hidden = clusters.length === 1;
  $("cluster").replaceChildren(...clusters.map(({ name }) => element("option", "", name)));
  wire();
  await showCluster(0);
  page.map.drawNow();
  performance.mark("shown");
}

begin().catch((error) => {
  $("content").hidden = true;
  $("failure").hidden = false;
  $("failure").textContent = `This page cannot be shown: ${error.message}`;
});
