"""What ledgers cost readers that never look at them: many small objects of many sources, as they are and without their ledgers."""

import os
import shutil
import sys

from footer import without_ledger
from questions import CLUSTER, COLUMNS
from readers import READERS, TITLES
from serve import Server

# 64 hosts with two snapshots a day are the 128 sources of each day's object
HOSTS, SNAPSHOTS = 64, 2
# what a ledger may add to what is read
MORE = 1.05
# requests an object that count as more: from run to run DuckDB makes one more or less in all, as its threads race
REQUESTS = 0.1


def make(program, readers, folder):
    """An archive of one object a day, and the same one without ledgers: the keys, and the bytes of all objects and of all ledgers."""
    days = int(os.environ.get("BENCH_OBJECTS", "1000"))
    ours, bare = folder / "ours", folder / "bare"
    ours.mkdir(parents=True)
    readers.script("small.py", folder / "tree", HOSTS, days * SNAPSHOTS)
    print(f"{days * SNAPSHOTS * HOSTS:,} small snapshots made", file=sys.stderr)
    readers.archive(program, folder / "tree", ours)
    shutil.rmtree(folder / "tree")
    keys, total, left_out = [], 0, 0
    for path in sorted(ours.rglob("part-*.parquet")):
        data = path.read_bytes()
        found, less = without_ledger(data)
        key = path.relative_to(ours)
        (bare / key).parent.mkdir(parents=True)
        (bare / key).write_bytes(found)
        keys.append(str(key))
        total, left_out = total + len(data), left_out + less
    if len(keys) != days:
        raise SystemExit(f"{len(keys)} objects for {days} days")
    print(f"\n{days:,} objects of {HOSTS * SNAPSHOTS} sources, {total / days / 1e3:.0f} KB each, of which {left_out / days / 1e3:.1f} KB are the ledger:\n")
    return keys


def ledgers(program, readers, folder):
    """Prints the table, and gives what was promised and not kept."""
    keys, failed, rows = make(program, readers, folder), [], set()
    equal = {"cluster": CLUSTER, "scope": "node", "metric": "cpu_load"}
    print("| reader | requests | without ledgers | MB | without ledgers | bytes, of those without |\n|---|---|---|---|---|---|")
    with Server(folder) as server:
        for reader in READERS:
            costs = []
            for variant in ("ours", "bare"):
                files = [f"{variant}/{key}" for key in keys]
                costs.append(readers.ask(reader, {"files": files, "hive": True, "columns": COLUMNS, "equal": equal, "span": None, "group": None}, server))
            ours, bare = costs
            rows |= {ours.rows, bare.rows}
            ratio = ours.bytes / bare.bytes
            print(f"| {TITLES[reader]} | {ours.requests:,} | {bare.requests:,} | {ours.mb:.1f} | {bare.mb:.1f} | {ratio:.3f} |", flush=True)
            if ours.requests - bare.requests > REQUESTS * len(keys):
                failed.append(f"{TITLES[reader]} makes {ours.requests - bare.requests:,} requests more with ledgers")
            if ratio > MORE:
                failed.append(f"{TITLES[reader]} reads {ratio:.3f} times as much with ledgers")
    if len(rows) != 1 or 0 in rows:
        raise SystemExit(f"readers differ in rows: {rows}")
    return failed
