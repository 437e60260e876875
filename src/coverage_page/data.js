"use strict";
// What the cells of a cluster say: of each host, of each hour, and of the cluster.

// The trouble of a cell, from 0 to 255. A share of p percent is 100 - p; these are not shares:
const BEFORE = 110, WAITING = 120, PARTLY = 150, UNKNOWN = 180, NOTHING = 255;
// Hours without data at the beginning or the end that make a host late or silent, and not one with a gap.
const EDGE = 3;
// A host with less than this percentage in an hour has fewer samples than its neighbours.
const THIN = 90;

const TROUBLE = Uint8Array.from({ length: 256 }, (_, cell) => {
  if (cell === 0) return NOTHING;
  if (cell <= 100) return 100 - cell;
  return { 250: WAITING, 251: PARTLY }[cell] ?? UNKNOWN;
});

/** The bytes of a base64 text of raw DEFLATE. */
async function unpacked(text) {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let at = 0; at < bytes.length; at++) bytes[at] = binary.charCodeAt(at);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** What a host is called by what it has; one word for each, the worst that applies. */
function kindOf(host) {
  if (host.first < 0) return "never";
  if (host.tail > 0) return "silent";
  if (host.missing > 0) return "gaps";
  if (host.head > 0) return "late";
  if (host.seen[PARTLY]) return "partly";
  if (host.seen[UNKNOWN]) return "unknown";
  return host.thin > 0 ? "fewer" : "complete";
}

/** A cluster with its cells: `trouble` is host-major, `hours` of each host. */
class Cluster {
  static async of(data) {
    const cells = await unpacked(data.cells);
    const hours = data.dates.length * 24;
    if (cells.length !== hours * data.hosts.length) {
      throw new Error(`${data.name}: ${cells.length} cells for ${data.hosts.length} hosts and ${hours} hours`);
    }
    return new Cluster(data, cells, hours);
  }

  constructor(data, cells, hours) {
    this.data = data;
    this.hours = hours;
    this.trouble = cells;
    /** Four cells at once: dates have 24. */
    this.fours = new Int32Array(cells.buffer);
    this.epoch = data.dates.length ? Date.parse(data.dates[0] + "T00:00:00Z") / 3600e3 : 0;
    this.busy = this.#weigh();
    /** The first hour of which something is known, and the one behind the last. */
    this.start = Math.max(0, this.busy.findIndex((state) => state > 0));
    this.end = this.busy.findLastIndex((state) => state > 0) + 1;
    this.#clearOutside();
    this.hosts = data.hosts.map((name, at) => this.#host(name, at));
    this.outages = this.#outages();
    this.blocks = new Map([[1, { worst: this.trouble, mean: this.trouble }]]);
  }

  /** Makes troubles of cells, in their place. Gives for each hour 1 if a host has data, 2 if that is not known of any, else 0. */
  #weigh() {
    const { trouble, fours, hours } = this;
    const busy = new Uint8Array(hours);
    const busyFours = new Int32Array(busy.buffer);
    for (let at = 0; at < trouble.length;) {
      for (let hour = 0; hour < hours; hour++, at++) {
        if ((at & 3) === 0 && fours[at >> 2] === 0x64646464) {
          fours[at >> 2] = 0; // four hours with all samples, as nearly all have
          busyFours[hour >> 2] = 0x01010101;
          hour += 3;
          at += 3;
          continue;
        }
        const weight = TROUBLE[trouble[at]];
        trouble[at] = weight;
        if (weight < UNKNOWN) busy[hour] = 1;
        else if (weight === UNKNOWN && busy[hour] === 0) busy[hour] = 2;
      }
    }
    return busy;
  }

  /** Hours before the first data and behind the last are nobody's gap. */
  #clearOutside() {
    const { trouble, hours, start, end } = this;
    for (let base = 0; base < trouble.length; base += hours) {
      trouble.fill(0, base, base + start);
      trouble.fill(0, base + end, base + hours);
    }
  }

  /** What one host has. Hours in which no host has data are not its gaps. */
  #host(name, at) {
    const { trouble, fours, hours, busy, start, end } = this;
    const base = at * hours;
    const host = { name, at, kind: "complete", first: -1, last: -1, missing: 0, gapFrom: -1, gapTo: -1, head: 0, tail: 0, thin: 0, seen: {} };
    let first = -1, last = -1, run = 0, from = -1;
    const gap = (to) => {
      host.missing += run;
      if (host.gapFrom < 0) host.gapFrom = from;
      host.gapTo = to;
    };
    for (let hour = start; hour < end; hour++) {
      if ((hour & 3) === 0 && fours[(base + hour) >> 2] === 0 && run === 0 && first >= 0 && hour + 4 <= end) {
        hour += 3;
        last = hour;
        continue;
      }
      const weight = trouble[base + hour];
      if (weight === NOTHING) {
        if (busy[hour] === 1 && run++ === 0) from = hour;
        continue;
      }
      if (weight > 100) {
        const seen = (host.seen[weight] ??= { from: hour, to: hour });
        seen.to = hour + 1;
      } else if (weight > 100 - THIN) {
        host.thin++;
      }
      if (run >= EDGE && first < 0) host.head = run;
      else if (run > 0) gap(hour);
      run = 0;
      if (first < 0) first = hour;
      last = hour;
    }
    Object.assign(host, { first, last });
    if (run >= EDGE || host.first < 0) host.tail = run;
    else if (run > 0) gap(end);
    if (host.head > 0) this.#clearBefore(base, host);
    host.kind = kindOf(host);
    return host;
  }

  /** A host that came late lacks nothing before: that is shown, but not as trouble. */
  #clearBefore(base, { first, seen }) {
    for (let hour = this.start; hour < first; hour++) this.trouble[base + hour] = BEFORE;
    seen[BEFORE] = { from: this.start, to: first };
  }

  #outages() {
    const found = [];
    for (let hour = this.start; hour < this.end; hour++) {
      if (this.busy[hour]) continue;
      const last = found.at(-1);
      if (last?.to === hour) last.to++;
      else found.push({ from: hour, to: hour + 1 });
    }
    return found;
  }

  /** The worst and the mean trouble of blocks of 1, 4, 8 or 24 hours. */
  blocksOf(size) {
    if (!this.blocks.has(size)) {
      const { trouble, fours } = this;
      const count = trouble.length / size;
      const worst = new Uint8Array(count), mean = new Uint8Array(count);
      for (let block = 0, at = 0; block < count; block++) {
        let most = 0, sum = 0;
        for (const end = at + size; at < end; at += 4) {
          if (fours[at >> 2] === 0) continue;
          for (let k = at; k < at + 4; k++) {
            const weight = trouble[k];
            if (weight > most) most = weight;
            sum += weight;
          }
        }
        worst[block] = most;
        mean[block] = sum / size;
      }
      this.blocks.set(size, { worst, mean });
    }
    return this.blocks.get(size);
  }

  /** How many hosts are of each kind. */
  counts() {
    const counts = {};
    for (const host of this.hosts) counts[host.kind] = (counts[host.kind] ?? 0) + 1;
    return counts;
  }

  /** What a person should look at, the most urgent first. Hosts with the same trouble in the same hours are one finding. */
  findings() {
    const groups = new Map();
    const add = (kind, from, to, host) => {
      const key = `${kind} ${from} ${to}`;
      if (!groups.has(key)) groups.set(key, { kind, from, to, hosts: [], missing: 0 });
      const group = groups.get(key);
      group.hosts.push(host.at);
      group.missing = Math.max(group.missing, host.missing);
    };
    for (const host of this.hosts) {
      if (host.kind === "silent") add("silent", host.last + 1, this.end, host);
      if (host.kind === "never") add("never", this.start, this.end, host);
      if (host.head > 0) add("late", this.start, host.first, host);
      if (host.missing > 0) add("gaps", host.gapFrom, host.gapTo, host);
      for (const [weight, kind] of [[PARTLY, "partly"], [UNKNOWN, "unknown"]]) {
        if (host.seen[weight]) add(kind, host.seen[weight].from, host.seen[weight].to, host);
      }
    }
    for (const { from, to } of this.outages) groups.set(`outage ${from}`, { kind: "outage", from, to, hosts: [], missing: to - from });
    const urgency = ["silent", "partly", "unknown", "outage", "gaps", "late", "never"];
    const when = (group) => (group.kind === "silent" ? group.from : group.to);
    return [...groups.values()].sort((a, b) => urgency.indexOf(a.kind) - urgency.indexOf(b.kind) || when(b) - when(a) || b.hosts.length - a.hosts.length);
  }

  /** Whether any cell has this trouble. */
  has(weight) {
    return this.hosts.some((host) => host.seen[weight]);
  }

  /** `2026-03-01 04:00` of an hour. */
  time(hour) {
    return new Date((this.epoch + hour) * 3600e3).toISOString().slice(0, 16).replace("T", " ");
  }

  /** `2026-03-01 04:00–11:00` of hours, the last one not among them. */
  span(from, to) {
    const [a, b] = [this.time(from), this.time(to)];
    return a.slice(0, 10) === b.slice(0, 10) ? `${a}–${b.slice(11)}` : `${a} – ${b}`;
  }
}

/** What a trouble is in words. */
function wordsOf(weight) {
  if (weight === NOTHING) return "no data";
  if (weight === UNKNOWN) return "not known: an object could not be read";
  if (weight === PARTLY) return "on disk, only partly archived";
  if (weight === WAITING) return "on disk, not archived yet";
  if (weight === BEFORE) return "before the host's first data";
  return weight === 0 ? "100 % of the samples" : `${100 - weight} % of the samples`;
}
