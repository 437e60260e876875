"""Writes rows as cc-backend's own archiver does: one Parquet file, a row group a host, no selector.

usage: cc_backend.py FILE [--compression CODEC] [--times UNIT] [--double] [--without COLUMN] [--bare]

Rows come on stdin, one line of JSON each: cluster, hostname, metric, scope, scope_id, timestamp, frequency and the value's
bits; null is none. They are written in this order, and an empty line ends a row group. cc-backend writes plain columns with
zstd, times as whole seconds and values as float32: --times writes timestamps, --double float64, --without leaves a column
out, and --bare writes no statistics.
"""

import argparse
import json
import struct
import sys

import pyarrow as pa
import pyarrow.parquet as pq

NAMES = ["cluster", "hostname", "metric", "scope", "scope_id", "timestamp", "frequency", "value"]


def groups(lines):
    rows = []
    for line in lines:
        if line.strip():
            rows.append(json.loads(line))
        elif rows:
            yield rows
            rows = []
    if rows:
        yield rows


def value(bits):
    return None if bits is None else struct.unpack("<f", struct.pack("<I", bits))[0]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("file")
    parser.add_argument("--compression", default="zstd")
    parser.add_argument("--times")
    parser.add_argument("--double", action="store_true")
    parser.add_argument("--without")
    parser.add_argument("--bare", action="store_true")
    wanted = parser.parse_args()

    all_groups = list(groups(sys.stdin))
    types = [pa.string()] * 5 + [pa.int64(), pa.int64(), pa.float64() if wanted.double else pa.float32()]
    has_null = [any(row[i] is None for rows in all_groups for row in rows) for i in range(len(NAMES))]
    fields = [pa.field(name, kind, nullable) for name, kind, nullable in zip(NAMES, types, has_null)]
    schema = pa.schema([field for field in fields if field.name != wanted.without])
    if wanted.times:
        place = schema.get_field_index("timestamp")
        schema = schema.set(place, pa.field("timestamp", pa.timestamp(wanted.times), has_null[5]))
    options = {"compression": wanted.compression, "use_dictionary": wanted.bare, "write_statistics": not wanted.bare}
    with pq.ParquetWriter(wanted.file, schema, **options) as writer:
        for rows in all_groups:
            columns = dict(zip(NAMES, zip(*rows)))
            columns["value"] = [value(bits) for bits in columns["value"]]
            if wanted.times:
                seconds = pa.array(columns["timestamp"], pa.timestamp("s"))
                columns["timestamp"] = seconds.cast(pa.timestamp(wanted.times))
            writer.write_table(pa.table([pa.array(columns[f.name], f.type) for f in schema], schema), row_group_size=len(rows))


main()
