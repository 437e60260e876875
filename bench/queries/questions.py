"""Five questions to one day of an archive and to two other layouts of the same rows, and whether grouping reads anything twice."""

import json
import os
import sys
from pathlib import Path

from readers import READERS, TITLES
from serve import Server

CLUSTER, DATE, BEGIN = "bench", "2026-03-01", 1_772_323_200
# snapshots of twelve hours: two are a day
SNAPSHOTS, SNAPSHOT_SECONDS = 2, 43_200
COLUMNS = ["hostname", "metric", "timestamp", "value"]
LAYOUTS = {"ours": "ours", "by-rows": "by rows", "cc-backend": "cc-backend"}
# what grouping may read beyond what the rows alone take
GROUPED = 1.05


def asked(hosts):
    """The questions: a title, names by column, a span of time."""
    picked, job = hosts[1::4] or hosts, ["cpu_load", "mem_used", "cpu_user", "flops_any", "clock"]
    begin = BEGIN + 9 * 3600
    return {
        "q1": ("one job", {"hostname": picked, "scope": ["node", "hwthread"], "metric": job}, [begin, begin + 3 * 3600]),
        "q2": ("one metric, one host", {"hostname": hosts[len(hosts) // 2], "scope": "socket", "metric": "cpu_power"}, None),
        "q3": ("node metric, all hosts", {"scope": "node", "metric": "cpu_load"}, None),
        "q4": ("hwthread metric, all hosts", {"scope": "hwthread", "metric": "flops_any"}, None),
        "q5": ("socket metric, all hosts", {"scope": "socket", "metric": "mem_bw"}, None),
    }


def question(name, layout, files, hosts, columns=COLUMNS):
    """One of them as ask.py takes it. In cc-backend's archive the date is a file's name, and no column."""
    _, equal, span = asked(hosts)[name]
    place = {"cluster": CLUSTER} | ({} if layout == "cc-backend" else {"date": DATE})
    return {"files": files, "hive": layout != "cc-backend", "columns": columns, "equal": place | equal, "span": span, "group": None}


def make(program, readers, folder):
    """The three layouts below `folder`: what layouts.py says of them."""
    hosts = int(os.environ.get("BENCH_HOSTS", "64"))
    folder.mkdir()
    readers.script("../generate.py", "typical", "bin", folder / "tree", hosts, SNAPSHOTS)
    (folder / "ours").mkdir()
    readers.archive(program, folder / "tree", folder / "ours")
    print(f"{hosts} hosts archived, writing the other layouts", file=sys.stderr)
    return json.loads(readers.script("layouts.py", folder / "ours", CLUSTER, DATE, folder, SNAPSHOT_SECONDS))


def print_layouts(made):
    print("| layout | MB | bytes a row | row groups | KB of footers |\n|---|---|---|---|---|")
    for layout, title in LAYOUTS.items():
        found = made[layout]
        print(f"| {title} | {found['bytes'] / 1e6:.1f} | {found['bytes'] / found['rows']:.2f} | {found['groups']} | {found['footers'] / 1e3:.0f} |")


def measure(readers, server, made, files):
    print("\n| question | reader | layout | MB | of the ideal | requests | CPU s |\n|---|---|---|---|---|---|---|")
    for name, (title, _, _) in asked(made["hosts"]).items():
        rows = {}
        for reader in READERS:
            for layout in LAYOUTS:
                cost = readers.ask(reader, question(name, layout, files[layout], made["hosts"]), server)
                rows[layout, reader] = cost.rows
                ideal = 2 * cost.rows
                found = f"{cost.mb:.2f} | {cost.bytes / max(1, ideal):.1f} | {cost.requests} | {cost.cpu:.2f}"
                print(f"| {title} | {TITLES[reader]} | {LAYOUTS[layout]} | {found} |", flush=True)
        if len(set(rows.values())) != 1 or 0 in rows.values():
            raise SystemExit(f"{name}: readers or layouts differ in rows: {rows}")
        count = next(iter(rows.values()))
        print(f"| {title} | ideal for {count:,} rows | | {2 * count / 1e6:.3f} | 1.0 | | |", flush=True)


def grouped(readers, server, made, files):
    """Averages by host, and the rows that they are of: the same columns, so the same bytes unless something is read twice."""
    failed, hosts = [], made["hosts"]
    print("\n| averages by host | reader | layout | rows MB | averages MB | averages, of rows |\n|---|---|---|---|---|---|")
    for name in ("q3", "q4"):
        title = asked(hosts)[name][0]
        for reader in ("duckdb-1.5", "duckdb-2.0"):
            for layout in LAYOUTS:
                plain = question(name, layout, files[layout], hosts, ["hostname", "value"])
                rows, averages = (readers.ask(reader, plain | {"group": group}, server) for group in (None, "hostname"))
                if averages.rows != len(hosts):
                    raise SystemExit(f"{title}, {layout}, {reader}: {averages.rows} averages for {len(hosts)} hosts")
                ratio = averages.bytes / rows.bytes
                print(f"| {title} | {TITLES[reader]} | {LAYOUTS[layout]} | {rows.mb:.2f} | {averages.mb:.2f} | {ratio:.2f} |", flush=True)
                if layout == "ours" and reader == "duckdb-2.0" and ratio > GROUPED:
                    failed.append(f"{TITLES[reader]} reads {ratio:.2f} times as much for averages by host of {title}")
    return failed


def questions(program, readers, folder):
    """Prints the tables, and gives what was promised and not kept."""
    made = make(program, readers, folder)
    files = {layout: [str(Path(file).relative_to(folder)) for file in made[layout]["files"]] for layout in LAYOUTS}
    with Server(folder) as server:
        print_layouts(made)
        measure(readers, server, made, files)
        return grouped(readers, server, made, files)
