"""A large Parquet file as cc-backend's own archiver writes one, and the least that a script does to take it over.

usage: import.py make FILE HOSTS    60 metrics of the node and 10 of each of 72 hardware threads, a value a minute for 12 hours, a row group a host
       import.py sort FILE DIR      row group by row group: sorted, and written again; nothing is recognised, partitioned or proven
"""

import os
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

BEGIN, STEP, VALUES = 1_772_323_200, 60, 720
SORTED = ["hostname", "scope", "metric", "scope_id", "timestamp"]


def make(path, hosts):
    node = [(f"m{i:02}", "node", "") for i in range(60)]
    series = node + [(f"c{i}", "hwthread", str(thread)) for i in range(10) for thread in range(72)]
    names = [pa.array(np.repeat(column, VALUES)) for column in zip(*series)]
    rows = len(series) * VALUES
    times = pa.array(np.tile(BEGIN + STEP * np.arange(VALUES), len(series)))
    steps = pa.array(np.full(rows, STEP))
    types = [pa.string()] * 5 + [pa.int64()] * 2 + [pa.float32()]
    columns = ["cluster", "hostname", "metric", "scope", "scope_id", "timestamp", "frequency", "value"]
    schema = pa.schema([pa.field(name, kind, False) for name, kind in zip(columns, types)])
    random = np.random.default_rng(1)
    with pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=False) as writer:
        for host in range(hosts):
            walk = np.cumsum(random.normal(size=(len(series), VALUES)), axis=1)
            values = pa.array(np.round(walk, 1).astype(np.float32).ravel())
            whose = [pa.array(["fritz"] * rows), pa.array([f"f{host:04}"] * rows)]
            writer.write_table(pa.table(whose + names + [times, steps, values], schema), row_group_size=rows)


def sort(path, folder):
    file = pq.ParquetFile(path)
    os.makedirs(folder, exist_ok=True)
    schema = file.schema_arrow.remove(0)
    with pq.ParquetWriter(os.path.join(folder, "sorted.parquet"), schema, compression="zstd") as writer:
        for group in range(file.num_row_groups):
            rows = file.read_row_group(group).drop_columns(["cluster"])
            writer.write_table(rows.sort_by([(name, "ascending") for name in SORTED]))


what, path, to = sys.argv[1:]
make(path, int(to)) if what == "make" else sort(path, to)
