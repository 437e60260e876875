// The map: bars of rows and bytes for each date, the time axis, and the cells of hosts and hours.

const BARS = [{ of: "rows", top: 4 }, { of: "bytes", top: 42 }];
const BAR_HEIGHT = 32, AXIS = 92, TOP = 100, ROW = 18, RIGHT = 14;

class HeatMap {
  constructor(box, canvas) {
    Object.assign(this, { box, canvas, context: canvas.getContext("2d"), cluster: null, order: [], view: new View(1, 1), waits: false });
  }

  /** Shows these rows: places of hosts in the cluster. */
  setRows(cluster, order) {
    if (this.cluster !== cluster) this.view = new View(cluster.hours, order.length);
    this.cluster = cluster;
    this.order = order;
    this.view.setRows(order.length);
    this.draw();
  }

  /** Draws with the next frame. */
  draw() {
    if (this.waits) return;
    this.waits = true;
    requestAnimationFrame(() => {
      this.waits = false;
      this.drawNow();
    });
  }

  drawNow() {
    if (!this.cluster) return;
    this.#measure();
    const { context, ratio, width, height } = this;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    this.#drawCells();
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.strokeStyle = this.style.line;
    context.strokeRect(this.left - 0.5, TOP - 0.5, width + 1, height + 1);
    this.#drawBars();
    this.#drawTimes();
    this.#drawNames();
    this.onDrawn?.();
  }

  /** Sizes in CSS pixels: the cells lie at `left`, TOP, and take `width` and `height`. */
  #measure() {
    const style = getComputedStyle(document.documentElement);
    const of = (name) => style.getPropertyValue(`--${name}`).trim();
    this.style = { text: of("text"), muted: of("muted"), line: of("line"), bar: of("bar"), family: getComputedStyle(document.body).fontFamily };
    this.context.font = `12px ${this.style.family}`;
    if (this.named !== this.cluster) {
      const longest = this.cluster.hosts.reduce((most, host) => (host.name.length > most.length ? host.name : most), "");
      const room = (text) => Math.ceil(this.context.measureText(text).width + 14);
      this.left = Math.max(...BARS.map(({ of }) => room(this.#most(of).text)), Math.min(180, room(longest)));
      this.named = this.cluster;
    }
    const all = this.box.clientWidth;
    this.ratio = window.devicePixelRatio || 1;
    this.width = Math.max(60, all - this.left - RIGHT);
    const most = Math.max(340, Math.min(760, window.innerHeight - 300));
    this.height = Math.max(1, Math.min(most, this.order.length * ROW));
    this.view.leastRows = Math.min(this.order.length, this.height / ROW);
    this.view.zoom(1, 0, 0);
    const [w, h] = [Math.round(all * this.ratio), Math.round((TOP + this.height + 2) * this.ratio)];
    if (this.canvas.width !== w || this.canvas.height !== h) {
      this.canvas.width = w;
      this.canvas.height = h;
      this.canvas.style.height = `${TOP + this.height + 2}px`;
    }
  }

  #drawCells() {
    const { ratio, view, cluster, order } = this;
    const [w, h] = [Math.round(this.width * ratio), Math.round(this.height * ratio)];
    if (order.length === 0) return;
    const image = this.context.createImageData(w, h);
    const pixels = new Uint32Array(image.data.buffer);
    const columns = this.#columns(w);
    const table = pixelTable(palette());
    const perRow = view.rows / h;
    const gap = 1 / perRow >= 7 * ratio ? 1 : 0;
    let before = [-1, -1];
    for (let y = 0; y < h; y++) {
      const from = Math.min(order.length - 1, Math.floor(view.row + y * perRow));
      const to = Math.min(order.length, Math.max(from + 1, Math.ceil(view.row + (y + 1) * perRow - 1e-9)));
      const lower = perRow < 1 ? from + 1 : to; // a row larger than a pixel does not share one with the next
      if (gap && Math.floor(view.row + (y + 1) * perRow + 1e-9) > from) continue;
      if (from === before[0] && lower === before[1] && y > 0) {
        pixels.copyWithin(y * w, (y - 1) * w, y * w);
        continue;
      }
      before = [from, lower];
      this.#line(pixels.subarray(y * w, (y + 1) * w), columns, table, order.slice(from, lower));
    }
    this.context.putImageData(image, Math.round(this.left * ratio), Math.round(TOP * ratio));
  }

  /** Which blocks of hours each column of pixels stands for; `from` is -1 where there is nothing to draw. */
  #columns(w) {
    const { view, cluster, ratio } = this;
    const perPixel = view.hours / w;
    const size = [24, 8, 4].find((hours) => hours <= perPixel * 1.2) ?? 1;
    const [from, to] = [new Int32Array(w), new Int32Array(w)];
    const gap = 1 / perPixel >= 7 * ratio;
    for (let x = 0; x < w; x++) {
      const [a, b] = [view.hour + x * perPixel, view.hour + (x + 1) * perPixel];
      const first = Math.floor(a);
      const last = perPixel < 1 ? first + 1 : Math.ceil(b - 1e-9);
      const outside = last <= cluster.start || first >= cluster.end;
      from[x] = outside || (gap && Math.floor(b + 1e-9) > first) ? -1 : Math.floor(first / size);
      to[x] = Math.min(Math.ceil(last / size), cluster.hours / size);
    }
    const perHost = cluster.hours / size;
    return { from, to, perHost, ...cluster.blocksOf(size), most: new Uint8Array(perHost), sums: new Uint32Array(perHost) };
  }

  /** One line of pixels, for the hosts of `rows`: first they become one host, then its blocks become pixels. */
  #line(line, { from, to, perHost, worst, mean, most, sums }, table, rows) {
    const low = Math.floor((this.view.hour * perHost) / this.cluster.hours);
    const high = Math.min(perHost, Math.ceil(((this.view.hour + this.view.hours) * perHost) / this.cluster.hours) + 1);
    most.fill(0);
    sums.fill(0);
    for (const row of rows) {
      const base = row * perHost;
      for (let block = low; block < high; block++) {
        const weight = worst[base + block];
        if (weight === 0) continue;
        if (weight > most[block]) most[block] = weight;
        sums[block] += mean[base + block];
      }
    }
    for (let x = 0; x < line.length; x++) {
      const first = from[x], last = to[x];
      if (first < 0) continue;
      let peak = 0, sum = 0;
      for (let block = first; block < last; block++) {
        if (most[block] > peak) peak = most[block];
        sum += sums[block];
      }
      const share = peak === 0 ? 0 : Math.round((16 * sum) / (peak * rows.length * (last - first)));
      line[x] = table[peak * 17 + share];
    }
  }

  #drawBars() {
    const { context, view, cluster, left, width, style } = this;
    const perHour = width / view.hours;
    const dates = cluster.data.dates.length;
    const [from, to] = [Math.max(0, Math.floor(view.hour / 24)), Math.min(dates, Math.ceil((view.hour + view.hours) / 24))];
    for (const { of, top } of BARS) {
      const values = cluster.data[of];
      const { most, text } = this.#most(of);
      context.fillStyle = style.bar;
      for (let date = from; date < to; date++) {
        const x = Math.max(left, left + (date * 24 - view.hour) * perHour);
        const end = Math.min(left + width, left + (date * 24 + 24 - view.hour) * perHour);
        const tall = (values[date] / most) * BAR_HEIGHT;
        context.fillRect(x, top + BAR_HEIGHT - tall, Math.max(0.5, end - x - (end - x > 4 ? 1 : 0)), tall);
      }
      context.fillStyle = style.line;
      context.fillRect(left, top + BAR_HEIGHT, width, 1);
      this.#text(of, left - 8, top + BAR_HEIGHT - 17, style.text, "right");
      this.#text(text, left - 8, top + BAR_HEIGHT - 3, style.muted, "right");
    }
  }

  /** The largest of these values, and its text. */
  #most(of) {
    const most = this.cluster.data[of].reduce((a, b) => Math.max(a, b), 1);
    return { most, text: `max ${of === "rows" ? short(most) : bytes(most)}` };
  }

  #drawTimes() {
    const { context, view, left, width, style } = this;
    for (const { hour, text } of marks(this.cluster, view, width / 72)) {
      const x = left + ((hour - view.hour) / view.hours) * width;
      context.fillStyle = style.line;
      context.fillRect(Math.round(x), AXIS - 14, 1, 20);
      if (x + 44 < left + width + RIGHT) this.#text(text, Math.round(x) + 5, AXIS, style.muted, "left");
    }
    this.#text("UTC", left - 8, AXIS, style.muted, "right");
  }

  #drawNames() {
    const { view, cluster, order, left, height, style } = this;
    const tall = height / view.rows;
    const every = Math.max(1, Math.ceil(14 / tall));
    for (let row = Math.ceil(Math.floor(view.row) / every) * every; row < Math.min(order.length, view.row + view.rows); row += every) {
      const y = TOP + (row + (tall >= 14 ? 0.5 : 0) - view.row) * tall + (tall >= 14 ? 4 : 10);
      if (y < TOP + 6 || y > TOP + height + 1) continue;
      this.#text(shortened(cluster.hosts[order[row]].name, left - 14, this.context), left - 8, y, style.muted, "right");
    }
  }

  #text(text, x, y, colour, align) {
    Object.assign(this.context, { fillStyle: colour, textAlign: align, font: `12px ${this.style.family}` });
    this.context.fillText(text, x, y);
  }

  /** What lies at a point of the box: a `part` (cells, bars, times, names), and the hours and rows of its pixel. */
  at(x, y) {
    const { view, left, width, height, order, ratio } = this;
    const across = Math.max(0, Math.min(1, (x - left) / width)), down = Math.max(0, Math.min(1, (y - TOP) / height));
    const part = x < left ? "names" : y >= TOP ? "cells" : y < BARS[1].top + BAR_HEIGHT + 1 ? "bars" : "times";
    const pixel = (first, seen, share, pixels, all) => {
      const at = Math.min(Math.floor(share * pixels), pixels - 1);
      const from = Math.min(all - 1, Math.floor(first + (at * seen) / pixels));
      return [from, seen <= pixels ? from + 1 : Math.min(all, Math.ceil(first + ((at + 1) * seen) / pixels - 1e-9))];
    };
    const hours = pixel(view.hour, view.hours, across, Math.round(width * ratio), view.allHours);
    const rows = pixel(view.row, view.rows, down, Math.round(height * ratio), order.length);
    return { part, across, down, hours, rows };
  }

  /** The rectangle of a cell in the box, cut at the edges of the cells. */
  place(hour, row) {
    const { view, left, width, height } = this;
    const x = left + ((hour - view.hour) / view.hours) * width, y = TOP + ((row - view.row) / view.rows) * height;
    return { x, y, width: width / view.hours, height: height / view.rows };
  }
}

/** `28.1 M` of 28,123,456. */
function short(count) {
  const units = [[1e9, " G"], [1e6, " M"], [1e3, " k"]];
  const [size, unit] = units.find(([size]) => count >= size) ?? [1, ""];
  return (count / size).toFixed(size > 1 && count / size < 100 ? 1 : 0) + unit;
}

/** `52.1 MiB` of a number of bytes. */
function bytes(count) {
  const power = Math.max(0, Math.min(5, Math.floor(Math.log2(Math.max(1, count)) / 10)));
  return (count / 1024 ** power).toFixed(power > 0 ? 1 : 0) + [" B", " KiB", " MiB", " GiB", " TiB", " PiB"][power];
}

/** The text, cut so that it fits. */
function shortened(text, room, context) {
  if (context.measureText(text).width <= room) return text;
  let length = text.length;
  while (length > 1 && context.measureText(text.slice(0, length) + "…").width > room) length--;
  return text.slice(0, length) + "…";
}
