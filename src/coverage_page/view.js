// Which part of the map is seen, in which colours, and where its times stand.

/** Hours and rows that are seen. Both are fractions while somebody zooms or drags. */
class View {
  constructor(hours, rows) {
    Object.assign(this, { allHours: hours, allRows: rows, leastRows: 1, hour: 0, row: 0, hours, rows });
  }

  get leastHours() {
    return Math.min(6, this.allHours);
  }

  /** Other rows than before, from the first one, as many as there are. */
  setRows(rows) {
    Object.assign(this, { allRows: rows, row: 0, rows });
  }

  /** Shows the hours from..to, with all rows. */
  show(from, to) {
    Object.assign(this, { hour: from, hours: to - from, row: 0, rows: this.allRows });
    this.#keepInside();
  }

  move(hours, rows) {
    this.hour += hours;
    this.row += rows;
    this.#keepInside();
  }

  /** Zooms in by a factor above 1, out by one below; `x` and `y` are the place that stays, from 0 to 1. Tells whether anything changed. */
  zoom(factor, x, y, { time = true, rows = true } = {}) {
    const before = [this.hour, this.hours, this.row, this.rows].join();
    const inside = (least, wanted, most) => Math.max(Math.min(least, most), Math.min(wanted, most));
    if (time) {
      const hours = inside(this.leastHours, this.hours / factor, this.allHours);
      this.hour += (this.hours - hours) * x;
      this.hours = hours;
    }
    if (rows) {
      const count = inside(this.leastRows, this.rows / factor, this.allRows);
      this.row += (this.rows - count) * y;
      this.rows = count;
    }
    this.#keepInside();
    return before !== [this.hour, this.hours, this.row, this.rows].join();
  }

  /** Moves as little as needed to see a cell. */
  reveal(hour, row) {
    const near = (first, seen, at) => (at < first ? at : at + 1 > first + seen ? at + 1 - seen : first);
    this.hour = near(this.hour, this.hours, hour);
    this.row = near(this.row, this.rows, row);
    this.#keepInside();
  }

  #keepInside() {
    this.hours = Math.max(this.leastHours, Math.min(this.hours, this.allHours));
    this.hour = Math.max(0, Math.min(this.hour, this.allHours - this.hours));
    this.row = Math.max(0, Math.min(this.row, this.allRows - this.rows));
  }
}

/** The colours of the style sheet, as [red, green, blue]. */
function palette() {
  const style = getComputedStyle(document.documentElement);
  const rgb = (name) => {
    const hex = style.getPropertyValue(`--${name}`).trim();
    return [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
  };
  const names = ["all", "half", "few", "none", "before", "waiting", "partly", "unknown"];
  return Object.fromEntries(names.map((name) => [name, rgb(name)]));
}

const mixed = (a, b, share) => a.map((value, at) => value + (b[at] - value) * share);

/** The colour of a trouble. */
function colourOf(colours, weight) {
  if (weight === NOTHING) return colours.none;
  if (weight === UNKNOWN) return colours.unknown;
  if (weight === PARTLY) return colours.partly;
  if (weight === WAITING) return colours.waiting;
  if (weight === BEFORE) return colours.before;
  return weight < 50 ? mixed(colours.all, colours.half, weight / 50) : mixed(colours.half, colours.few, (weight - 50) / 49);
}

/**
 * Pixels by worst trouble and by how much of the pixel has it: `table[worst * 17 + sixteenths]`. A pixel that stands for many cells has three
 * quarters of the colour of the worst of them, and more if more of them are so. So one hour without data is seen among many others, and a day without
 * looks worse.
 */
function pixelTable(colours) {
  const table = new Uint32Array(256 * 17);
  const bytes = new Uint8ClampedArray(table.buffer);
  for (let weight = 0; weight < 256; weight++) {
    for (let share = 0; share <= 16; share++) {
      const at = (weight * 17 + share) * 4;
      bytes.set([...mixed(colours.all, colourOf(colours, weight), 0.75 + share / 64), 255], at);
    }
  }
  return table;
}

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/** Hours at which the time axis has a mark, with what stands there. `room` is how many marks there is room for. */
function marks(cluster, view, room) {
  const step = view.hours / room;
  const [every, unit] = [[1, "h"], [2, "h"], [3, "h"], [6, "h"], [12, "h"], [24, "d"], [48, "d"], [168, "d"], [336, "d"], [730, "m"], [2190, "m"], [4380, "m"], [8760, "m"]]
    .find(([hours]) => hours >= step) ?? [8760, "m"];
  const stands = {
    h: (time) => time.getUTCHours() % every === 0,
    d: (time) => time.getUTCHours() === 0 && (time.getUTCDate() - 1) % (every / 24) === 0 && (every === 24 || 31 - time.getUTCDate() >= every / 48),
    m: (time) => time.getUTCHours() === 0 && time.getUTCDate() === 1 && time.getUTCMonth() % Math.round(every / 730) === 0,
  }[unit];
  const found = [];
  for (let hour = Math.ceil(view.hour); hour <= view.hour + view.hours; hour++) {
    const time = new Date((cluster.epoch + hour) * 3600e3);
    if (stands(time)) found.push({ hour, text: markText(time, unit) });
  }
  return found;
}

function markText(time, unit) {
  const day = `${MONTHS[time.getUTCMonth()]} ${time.getUTCDate()}`;
  if (unit === "h" && time.getUTCHours() > 0) return `${String(time.getUTCHours()).padStart(2, "0")}:00`;
  if (time.getUTCMonth() === 0 && time.getUTCDate() === 1) return String(time.getUTCFullYear());
  return unit === "m" ? MONTHS[time.getUTCMonth()] : day;
}
