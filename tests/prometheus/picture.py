"""Draws the dashboard as it shows two weeks of a site: picture.py BINARY TOOLS FILE.

The runs are real ones, every six hours of a timeline in the past. What Prometheus had of each is written as series of that time into another Prometheus,
which answers the dashboard's own queries.
"""

import json
import math
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from xml.sax.saxutils import escape

from chain import Chain, Prometheus
from place import HOUR, Site
from store import Store

BOARD = Path(__file__).resolve().parents[2] / "deploy/grafana/cc-archiver.json"
DAYS = 14
# Prometheus looks back five minutes for a value.
SAMPLES = 240
COLORS = ["#3871dc", "#e0752d", "#3f9142", "#8f3bb8", "#c4162a", "#b8a100", "#00838f", "#6b6b6b"]
LEVELS = {"green": "#3f9142", "orange": "#e0752d", "red": "#c4162a"}


def fortnight(site):
    """Runs every six hours, and others every day and every week. On the sixth day the store refuses uploads; on the tenth a snapshot is damaged until somebody looks at it."""
    site.in_s3()
    bad, hold = None, str(site.work / "hold")
    for step in range(DAYS * 4 + 1):
        hours = step * 6
        for host in range(6):
            site.snapshot(hours - 6, host=f"n{host:02}", metrics=("cpu_load", "mem_used", "power", "flops"))
        refused, damaged = 22 <= step <= 24, 38 <= step <= 41
        if step == 38:
            bad = site.damaged(hours - 6, host="n99")
        if step == 42:
            bad.unlink()
        site.at(hours)
        if refused:
            site.store.fault = lambda method, key: (403, "AccessDenied") if method == "PUT" else None
        site.archive("--wal-hold", hold, code=1 if refused else 3 if damaged else 0)
        site.store.heal()
        if step % 4 == 0 and step > 8:
            site.at(hours + 1).run("prune", "--older-than", site.ago(hours - 48))
        if step % 28 == 6:
            site.at(hours + 2).run("verify", "--read-data")
            site.at(hours + 3).run("compact")
            # by the clock of the store, which is that of the timeline
            site.at(hours + 4).run("expire", "--keep", "6days")
        if step == 8:
            site.at(hours + 2).run("table", "--init")


def openmetrics(events, base, end):
    """Text of the series of the events, each at every few minutes from its event to the next."""
    samples = {}
    events = sorted(events, key=lambda event: event[0]) + [((end - base) / HOUR, None, {})]
    for (hours, _, sheet), (then, _, _) in zip(events, events[1:]):
        for at in range(base + int(hours * HOUR), base + int(then * HOUR), SAMPLES):
            for series, value in sheet.items():
                samples.setdefault(series, []).append(f"{series} {value!r} {at}")
    # of one name together, as the format wants it
    lines = [line for series in sorted(samples, key=lambda series: (series.split("{")[0], series)) for line in samples[series]]
    return "\n".join(lines) + "\n# EOF\n"


def said(value, unit):
    """A value with its unit, as short as it can be read."""
    if unit == "s":
        for name, seconds in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
            if abs(value) >= seconds:
                return f"{value / seconds:.3g} {name}"
        return f"{value * 1000:.3g} ms" if value else "0 s"
    if unit == "percentunit":
        return f"{value * 100:.3g} %"
    powers, step = (["", "Ki", "Mi", "Gi"], 1024) if unit == "bytes" else (["", "k", "M", "G"], 1000)
    power = 0
    while abs(value) >= step and power < 3:
        value, power = value / step, power + 1
    return f"{value:.3g} {powers[power]}{'B' if unit == 'bytes' else ''}".strip()


def bends(points):
    """Without those in the middle of a level line."""
    level = lambda n: 0 < n < len(points) - 1 and points[n - 1][1] == points[n][1] == points[n + 1][1] and points[n + 1][0] - points[n - 1][0] == 2 * HOUR
    return [point for n, point in enumerate(points) if not level(n)]


class Panel:
    """A part of the picture: where it is, in pixels, and what it shows."""

    WIDTH, HEIGHT, GAP = 52, 25, 4

    def __init__(self, panel, shown):
        at = panel["gridPos"]
        self.x, self.y = at["x"] * self.WIDTH + self.GAP, at["y"] * self.HEIGHT + self.GAP
        self.w, self.h = at["w"] * self.WIDTH - 2 * self.GAP, at["h"] * self.HEIGHT - 2 * self.GAP
        self.panel, self.shown = panel, shown
        self.defaults = panel.get("fieldConfig", {}).get("defaults", {})
        self.unit = self.defaults.get("unit")

    def text(self, x, y, text, size=11, color="#464c54", anchor="start", weight="normal"):
        return f'<text x="{x:.0f}" y="{y:.0f}" font-size="{size}" fill="{color}" text-anchor="{anchor}" font-weight="{weight}">{escape(text)}</text>'

    def draw(self, begin, end):
        title, most = self.panel["title"], int(self.w / 7)
        title = title if len(title) <= most else title[: most - 1] + "…"
        title = self.text(self.x + 10, self.y + 18, title, 12, "#24292e", weight="bold")
        if self.panel["type"] == "row":
            return title
        frame = f'<rect x="{self.x}" y="{self.y}" width="{self.w}" height="{self.h}" fill="#ffffff" stroke="#dcdee1"/>'
        return frame + title + (self.stat() if self.panel["type"] == "stat" else self.lines(begin, end))

    def stat(self):
        """The last value of each series, in the color of its threshold."""
        drawn, count = "", max(1, len(self.shown))
        for n, (name, points) in enumerate(self.shown):
            value = points[-1][1]
            steps = self.defaults["thresholds"]["steps"]
            color = [step["color"] for step in steps if step["value"] is None or value >= step["value"]][-1]
            x = self.x + (n + 0.5) * self.w / count
            drawn += self.text(x, self.y + 62, said(value, self.unit), 24 if count < 3 else 20, LEVELS.get(color, "#24292e"), "middle", "bold")
            drawn += self.text(x, self.y + 82, name if count < 4 else name.split()[0], 10, anchor="middle")
        return drawn or self.text(self.x + self.w / 2, self.y + 60, "No data", 14, anchor="middle")

    def lines(self, begin, end):
        left, top, right, bottom = self.x + 62, self.y + 32, self.x + self.w - 10, self.y + self.h - 40
        values = [value for _, points in self.shown for _, value in points]
        most, least = max(values, default=1) or 1, min(0, min(values, default=0))
        across = lambda at: left + (at - begin) / (end - begin) * (right - left)
        up = lambda value: bottom - (value - least) / (most - least) * (bottom - top)
        drawn = ""
        for part in range(3):
            value = least + (most - least) * part / 2
            drawn += f'<line x1="{left}" x2="{right}" y1="{up(value):.1f}" y2="{up(value):.1f}" stroke="#ececed"/>'
            drawn += self.text(left - 6, up(value) + 4, said(value, self.unit), 10, anchor="end")
        for day in range(0, DAYS + 1, 2):
            drawn += self.text(across(begin + day * 86_400), bottom + 14, f"day {day}", 9, "#7b8087", "middle")
        x = self.x + 10
        for (name, points), color in zip(self.shown, COLORS * 4):
            # a gap is no line
            parts, last = [], None
            for at, value in bends(points):
                is_gap = last is None or (at - last[0] > 2 * HOUR and value != last[1])
                parts.append(f"{'M' if is_gap else 'L'}{across(at):.1f} {up(value):.1f}")
                last = (at, value)
            drawn += f'<path d="{"".join(parts)}" fill="none" stroke="{color}" stroke-width="1.4"/>'
            if x + 14 + 6 * len(name) < self.x + self.w:
                drawn += f'<rect x="{x}" y="{self.y + self.h - 16}" width="10" height="3" fill="{color}"/>'
                drawn += self.text(x + 14, self.y + self.h - 11, name, 10)
            x += 30 + 6 * len(name)
        return drawn if self.shown else self.text((left + right) / 2, (top + bottom) / 2, "No data", 14, anchor="middle")


def answers(prometheus, panel, begin, end):
    """What the panel shows: [(name, points)]."""
    shown = []
    for target in panel.get("targets", []):
        query = target["expr"].replace("$job", ".*").replace("$instance", ".*")
        for labels, points in prometheus.series(query, begin, end, HOUR):
            # a part of nothing
            points = [(at, value) for at, value in points if math.isfinite(value)]
            name = re.sub(r"\{\{(\w+)\}\}", lambda found: labels.get(found[1], ""), target.get("legendFormat", ""))
            shown += [(name.strip(), points)] if points else []
    return shown


def main():
    binary, tools, to = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        store, chain = Store(), Chain(tools, work, [], ["cc-backend"])
        base = (int(time.time()) - (DAYS + 2) * 86_400) // 86_400 * 86_400
        try:
            site = Site(binary, work, chain, store, base, "fortnight")
            fortnight(site)
        finally:
            chain.stop()
            store.close()
        end = base + DAYS * 86_400 + 2 * HOUR
        (work / "series.txt").write_text(openmetrics(site.events, base, end))
        past = work / "past"
        subprocess.run([tools / "promtool", "tsdb", "create-blocks-from", "openmetrics", "--quiet", work / "series.txt", past / "data"], check=True)
        prometheus = Prometheus(tools, past, [], [])
        try:
            panels = [Panel(panel, answers(prometheus, panel, base, end)) for panel in json.loads(BOARD.read_text())["panels"]]
        finally:
            prometheus.stop()
    width, height = 24 * Panel.WIDTH, max(panel.y + panel.h for panel in panels) + 2 * Panel.GAP
    drawn = "\n".join(panel.draw(base, end) for panel in panels)
    to.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="Inter, Helvetica, Arial, sans-serif">\n'
        f'<rect width="{width}" height="{height}" fill="#f4f5f5"/>\n{drawn}\n</svg>\n'
    )


main()
