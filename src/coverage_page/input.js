// Pointer and keys: what a place of the map holds, the cursor, zoom and drag.

/** How many cells of each trouble there are, and one of the worst. */
function countCells([fromHour, toHour], [fromRow, toRow]) {
  const { cluster, map } = page;
  const counts = new Map();
  let worst = null, outside = true;
  for (let row = fromRow; row < toRow; row++) {
    for (let hour = fromHour; hour < toHour; hour++) {
      if (hour < cluster.start || hour >= cluster.end) continue;
      outside = false;
      const weight = cluster.trouble[map.order[row] * cluster.hours + hour];
      counts.set(weight, (counts.get(weight) ?? 0) + 1);
      if (!worst || weight > worst.weight) worst = { weight, hour, row };
    }
  }
  return { counts, worst, outside };
}

/** Lines of text for cells: who, when, and what there is. */
function describe(hours, rows) {
  const { cluster, map } = page;
  const name = (row) => cluster.hosts[map.order[row]].name;
  const several = rows[1] - rows[0] > 1;
  const who = several ? `${name(rows[0])} – ${name(rows[1] - 1)}, ${rows[1] - rows[0]} hosts` : name(rows[0]);
  const { counts, worst, outside } = countCells(hours, rows);
  const lines = [who, `${cluster.span(...hours)} UTC`];
  if (outside) return [...lines, "before the first or after the last data"];
  const all = [...counts.values()].reduce((sum, count) => sum + count, 0);
  if (all === 1) {
    lines.push(wordsOf(worst.weight));
  } else {
    const none = counts.get(NOTHING) ?? 0, complete = counts.get(0) ?? 0;
    const rest = all - none - complete;
    lines.push([[none, "no data"], [rest, "in part"], [complete, "complete"]].filter(([count]) => count).map(([count, words]) => `${count} × ${words}`).join(", "));
    if (worst.weight > 0 && complete < all) lines.push(`worst: ${several ? name(worst.row) + ", " : ""}${cluster.time(worst.hour)}, ${wordsOf(worst.weight)}`);
  }
  const host = cluster.hosts[map.order[rows[0]]];
  if (!several && host.kind === "silent") lines.push(`silent since ${cluster.time(host.last + 1)}`);
  return lines;
}

function describeDate(date) {
  const { dates, rows, bytes: sizes, objects } = page.cluster.data;
  return [dates[date], `${whole.format(rows[date])} rows`, `${bytes(sizes[date])} in ${many(objects[date], "object")}`];
}

function showTip(lines, x, y) {
  const tip = $("tip");
  tip.replaceChildren(element("b", "", lines[0]), ...lines.slice(1).map((line, at) => element("span", at === 0 || at > 1 ? "quiet" : "", line)));
  tip.hidden = false;
  const box = $("map");
  const left = x + 18 + tip.offsetWidth > box.clientWidth ? x - 18 - tip.offsetWidth : x + 18;
  const top = y + 14 + tip.offsetHeight > box.clientHeight + 60 ? y - 14 - tip.offsetHeight : y + 14;
  tip.style.transform = `translate(${Math.max(0, Math.round(left))}px, ${Math.round(top)}px)`;
}

function hideTip() {
  $("tip").hidden = true;
}

// ---- the cursor of the keyboard ----

function showCursor() {
  const { cursor, map, cluster } = page;
  if (!cursor || map.order.length === 0) return;
  map.view.reveal(cursor.hour, cursor.row);
  const place = map.place(cursor.hour, cursor.row);
  const [w, h] = [Math.max(9, place.width + 4), Math.max(9, place.height + 4)];
  const [x, y] = [place.x + place.width / 2, place.y + place.height / 2];
  Object.assign($("cross").style, { visibility: "visible", left: `${x - w / 2}px`, top: `${y - h / 2}px`, width: `${w}px`, height: `${h}px` });
  const lines = describe([cursor.hour, cursor.hour + 1], [cursor.row, cursor.row + 1]);
  showTip(lines, x, y);
  $("spoken").textContent = lines.join(", ");
  map.draw();
}

function leaveCursor() {
  page.cursor = null;
  $("cross").style.visibility = "hidden";
  hideTip();
}

/** Where the cursor begins: at the newest hour with data of the first row that is seen. */
function enterCursor() {
  const { map, cluster } = page;
  if (map.order.length === 0) return;
  const seen = Math.min(cluster.end, Math.ceil(map.view.hour + map.view.hours)) - 1;
  page.cursor = { hour: Math.max(0, Math.floor(map.view.hour), seen), row: Math.floor(map.view.row) };
  showCursor();
}

const KEYS = ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "PageUp", "PageDown", "Home", "End", "+", "=", "-", "0"];

function onKey(event) {
  const { map, cluster } = page;
  if (event.ctrlKey || event.metaKey || event.altKey || !KEYS.includes(event.key) || map.order.length === 0) return;
  event.preventDefault();
  if (!page.cursor) enterCursor();
  const cursor = page.cursor, view = map.view, far = event.shiftKey;
  const zoom = (factor) => {
    const place = map.place(cursor.hour + 0.5, cursor.row + 0.5);
    view.zoom(factor, (place.x - map.left) / map.width, (place.y - TOP) / map.height);
  };
  const keys = {
    ArrowLeft: () => (cursor.hour -= far ? 24 : 1),
    ArrowRight: () => (cursor.hour += far ? 24 : 1),
    ArrowUp: () => (cursor.row -= far ? 10 : 1),
    ArrowDown: () => (cursor.row += far ? 10 : 1),
    PageUp: () => (cursor.row -= Math.max(1, Math.floor(view.rows))),
    PageDown: () => (cursor.row += Math.max(1, Math.floor(view.rows))),
    Home: () => (cursor.hour = cluster.start),
    End: () => (cursor.hour = cluster.end - 1),
    "+": () => zoom(1.5),
    "=": () => zoom(1.5),
    "-": () => zoom(1 / 1.5),
    0: () => view.show(0, cluster.hours),
  };
  keys[event.key]();
  cursor.hour = Math.max(0, Math.min(cluster.hours - 1, cursor.hour));
  cursor.row = Math.max(0, Math.min(map.order.length - 1, cursor.row));
  showCursor();
}

// ---- the pointer ----

const point = (event) => {
  const box = $("map").getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top];
};

function onHover(event) {
  const { map, cluster } = page;
  if (map.order.length === 0) return;
  const [x, y] = point(event);
  const found = map.at(x, y);
  if (found.part === "cells") showTip(describe(found.hours, found.rows), x, y);
  else if (found.part === "bars" && cluster.data.dates.length) showTip(describeDate(Math.floor(found.hours[0] / 24)), x, y);
  else hideTip();
}

function onWheel(event) {
  const { map } = page;
  const found = map.at(...point(event));
  const sideways = Math.abs(event.deltaX) > Math.abs(event.deltaY);
  const unit = event.deltaMode === 1 ? 30 : 1;
  if (sideways) {
    map.view.move((event.deltaX * unit * map.view.hours) / map.width, 0);
    event.preventDefault();
  } else {
    const only = { time: found.part !== "names", rows: (found.part === "cells" && !event.shiftKey) || found.part === "names" };
    const changed = map.view.zoom(Math.exp(-event.deltaY * unit * (event.ctrlKey ? 0.01 : 0.0022)), found.across, found.down, only);
    if (changed) event.preventDefault(); // else the page scrolls
  }
  leaveCursor();
  map.draw();
}

/** Dragging with one pointer, pinching with two. */
function followPointers(box) {
  const down = new Map();
  box.addEventListener("pointerdown", (event) => {
    if (event.button > 0) return;
    down.set(event.pointerId, point(event));
    box.setPointerCapture(event.pointerId);
  });
  box.addEventListener("pointermove", (event) => {
    const { map } = page;
    const before = down.get(event.pointerId);
    if (!before) return onHover(event);
    const now = point(event);
    const other = [...down].find(([id]) => id !== event.pointerId)?.[1];
    if (other) {
      const apart = (a, b) => Math.max(20, Math.hypot(a[0] - b[0], a[1] - b[1]));
      const middle = map.at((now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
      map.view.zoom(apart(now, other) / apart(before, other), middle.across, middle.down);
    } else if (Math.hypot(now[0] - before[0], now[1] - before[1]) < 3 && !box.classList.contains("dragging")) {
      return;
    } else {
      box.classList.add("dragging");
      map.view.move(((before[0] - now[0]) * map.view.hours) / map.width, ((before[1] - now[1]) * map.view.rows) / map.height);
    }
    down.set(event.pointerId, now);
    leaveCursor();
    map.draw();
  });
  const up = (event) => {
    down.delete(event.pointerId);
    if (down.size === 0) box.classList.remove("dragging");
  };
  box.addEventListener("pointerup", up);
  box.addEventListener("pointercancel", up);
  box.addEventListener("pointerleave", () => page.cursor || hideTip());
}
