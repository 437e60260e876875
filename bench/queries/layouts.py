"""Writes the rows of an archive in two other layouts, to compare with.

usage: layouts.py ARCHIVE CLUSTER DATE OUT SNAPSHOT_SECONDS

OUT/by-rows     one file like ours, sorted by host, metric, scope, id, selector and time, in row groups of 1 Mi rows wherever those end
OUT/cc-backend  one file as cc-backend's own archiver writes it: a row group a host, and in it snapshot by snapshot, level by level
Prints as JSON what each is, and the archive itself: bytes, rows, row groups, bytes of footers, and the hosts.
"""

import json
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

NAMES = ["hostname", "metric", "scope", "scope_id", "selector"]
SORTED = [*NAMES, "timestamp"]
GROUP_ROWS = 1 << 20
# as src/schema.rs has them
PAGE_ROWS = 171 << 10
OURS = {
    "compression": "zstd", "compression_level": 3, "use_dictionary": [*NAMES, "frequency"],
    "column_encoding": {"timestamp": "DELTA_BINARY_PACKED", "value": "BYTE_STREAM_SPLIT"},
    "write_page_index": True, "data_page_size": 8 * PAGE_ROWS, "max_rows_per_page": PAGE_ROWS, "store_schema": False,
}
# as parquet-go writes what it is told nothing of
TEXTS = ["cluster", "hostname", "metric", "scope", "scope_id"]
CC_BACKEND = {
    "compression": "zstd", "compression_level": 3, "use_dictionary": False, "column_encoding": {name: "DELTA_LENGTH_BYTE_ARRAY" for name in TEXTS},
    "write_page_index": True, "data_page_size": 256 << 10, "data_page_version": "2.0", "store_schema": False,
}


def runs(host, seconds=None):
    """Where runs of rows of one series begin, in one snapshot if `seconds` are given, and where the last one ends."""
    times = host["timestamp"].to_numpy()
    changed = np.zeros(len(times), bool)
    changed[0] = True
    for name in NAMES[1:]:
        codes = host[name].combine_chunks().indices.to_numpy()
        changed[1:] |= codes[1:] != codes[:-1]
    if seconds:
        changed[1:] |= times[1:] // seconds != times[:-1] // seconds
    return np.append(np.flatnonzero(changed), len(times))


def reordered(host, bounds, key):
    """The rows with their runs sorted by `key`, a function of a run's names and first time."""
    first = host.take(bounds[:-1]).select([*NAMES, "timestamp"]).to_pylist()
    order = sorted(range(len(first)), key=lambda run: key(first[run]))
    places = [np.arange(bounds[run], bounds[run + 1]) for run in order]
    return host.take(pa.array(np.concatenate(places)))


def by_rows(row):
    return tuple(row[name] for name in SORTED[1:])


def by_level(seconds):
    return lambda row: (row["timestamp"] // seconds, row["selector"], row["metric"], row["timestamp"])


class Groups:
    """A file whose row groups have `GROUP_ROWS` rows, whichever hosts they are of."""

    def __init__(self, path, schema):
        sorting = [pq.SortingColumn(schema.get_field_index(name)) for name in SORTED]
        self.writer, self.waiting = pq.ParquetWriter(path, schema, sorting_columns=sorting, **OURS), None

    def add(self, rows):
        self.waiting = pa.concat_tables([self.waiting, rows]).unify_dictionaries() if self.waiting else rows
        while self.waiting.num_rows >= GROUP_ROWS:
            self.write(GROUP_ROWS)

    def write(self, count):
        self.writer.write_table(self.waiting.slice(0, count).combine_chunks(), row_group_size=GROUP_ROWS)
        self.waiting = self.waiting.slice(count).combine_chunks()

    def close(self):
        if self.waiting.num_rows:
            self.write(GROUP_ROWS)
        self.writer.close()


def plain(rows, cluster):
    """The columns of cc-backend's archiver."""
    columns = [pa.array([cluster] * len(rows))] + [rows[name].cast(pa.string()) for name in TEXTS[1:]]
    columns += [rows[name] for name in ("timestamp", "frequency", "value")]
    names = [*TEXTS, "timestamp", "frequency", "value"]
    required = pa.schema([pa.field(name, column.type, nullable=False) for name, column in zip(names, columns)])
    return pa.Table.from_arrays(columns, schema=required)


class Rows:
    """An archive's rows by host, row group by row group: pyarrow's datasets pass over no row group by a dictionary column."""

    def __init__(self, paths):
        self.files = [pq.ParquetFile(path, read_dictionary=NAMES) for path in paths]
        column = self.files[0].schema_arrow.get_field_index("hostname")
        self.groups = []
        for file in self.files:
            spans = [file.metadata.row_group(number).column(column).statistics for number in range(file.num_row_groups)]
            self.groups.append([(number, span.min, span.max) for number, span in enumerate(spans)])

    def hosts(self):
        names = set()
        for file in self.files:
            names |= set(file.read(["hostname"])["hostname"].unique().to_pylist())
        return sorted(names)

    def of(self, host):
        tables = []
        for file, groups in zip(self.files, self.groups):
            numbers = [number for number, first, last in groups if first <= host <= last]
            if numbers:
                found = file.read_row_groups(numbers)
                tables.append(found.filter(pc.equal(found["hostname"].cast(pa.string()), host)))
        return pa.concat_tables(tables).unify_dictionaries().combine_chunks()


def described(files):
    footers = [pq.read_metadata(file) for file in files]
    return {
        "files": [str(file) for file in files], "bytes": sum(file.stat().st_size for file in files), "rows": sum(f.num_rows for f in footers),
        "groups": sum(f.num_row_groups for f in footers), "footers": sum(f.serialized_size for f in footers),
    }


def main(archive, cluster, date, out, seconds):
    files = sorted(Path(archive).glob(f"cluster={cluster}/date={date}/*.parquet"))
    archived = Rows(files)
    hosts = archived.hosts()
    same, theirs = Path(out) / "by-rows" / f"cluster={cluster}" / f"date={date}" / "rows.parquet", Path(out) / "cc-backend" / cluster / f"{date}.parquet"
    same.parent.mkdir(parents=True)
    theirs.parent.mkdir(parents=True)
    groups = levels = None
    for name in hosts:
        rows = archived.of(name)
        groups = groups or Groups(same, rows.schema)
        groups.add(reordered(rows, runs(rows), by_rows))
        rows = plain(reordered(rows, runs(rows, seconds), by_level(seconds)), cluster)
        levels = levels or pq.ParquetWriter(theirs, rows.schema, **CC_BACKEND)
        levels.write_table(rows, row_group_size=len(rows))
    groups.close()
    levels.close()
    print(json.dumps({"hosts": hosts, "ours": described(files), "by-rows": described([same]), "cc-backend": described([theirs])}))


if __name__ == "__main__":
    if len(sys.argv) != 6:
        sys.exit(__doc__)
    main(*sys.argv[1:5], int(sys.argv[5]))
