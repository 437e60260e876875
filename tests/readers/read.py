"""Reads an archive with one of the usual libraries and prints its rows.

usage: read.py pandas|pyarrow|duckdb|polars ARCHIVE [--typed] [--partition CLUSTER DATE]...

ARCHIVE is a directory or s3://bucket/prefix; then the AWS_* variables say where that is. One line a row, as in
expected.csv: cluster, date, hostname, metric, scope, scope_id, selector, timestamp, frequency and the value's bits in
hex. In names a backslash, a comma and a line break are escaped by a backslash.

Without --typed the library decides what cluster and date are, which for a cluster called 007 may be the number 7;
with it they are strings. With --partition only those partitions are asked for, each by a filter of its own.
"""

import argparse
import os
import sys

COLUMNS = ["cluster", "date", "hostname", "metric", "scope", "scope_id", "selector", "timestamp", "frequency", "value"]
KEYS = "/cluster=*/date=*/*.parquet"


def partitioning(typed):
    import pyarrow as pa
    import pyarrow.dataset as ds

    if not typed:
        return "hive"
    return ds.partitioning(pa.schema([("cluster", pa.string()), ("date", pa.string())]), flavor="hive")


def place(archive):
    """The archive as pyarrow takes it: a path, and the file system it is in (None: local)."""
    if not archive.startswith("s3://"):
        return archive, None
    from pyarrow.fs import S3FileSystem

    scheme, _, server = os.environ["AWS_ENDPOINT_URL"].partition("://")
    keys = {"access_key": os.environ["AWS_ACCESS_KEY_ID"], "secret_key": os.environ["AWS_SECRET_ACCESS_KEY"]}
    store = S3FileSystem(scheme=scheme, endpoint_override=server, region=os.environ["AWS_REGION"], **keys)
    return archive.removeprefix("s3://"), store


def pandas(archive, typed, wanted):
    import pandas as pd

    path, filesystem = place(archive)
    options = {"partitioning": partitioning(typed)} if typed else {}
    filters = [[("cluster", "==", cluster), ("date", "==", date)] for cluster, date in wanted] or [None]
    for one in filters:
        frame = pd.read_parquet(path, filesystem=filesystem, filters=one, **options)
        yield {name: frame[name].to_numpy() for name in COLUMNS}


def pyarrow(archive, typed, wanted):
    import pyarrow.dataset as ds

    path, filesystem = place(archive)
    dataset = ds.dataset(path, filesystem=filesystem, partitioning=partitioning(typed))
    filters = [(ds.field("cluster") == cluster) & (ds.field("date") == date) for cluster, date in wanted] or [None]
    for one in filters:
        table = dataset.to_table(columns=COLUMNS, filter=one)
        yield {name: table[name].to_numpy() for name in COLUMNS}


def duckdb(archive, typed, wanted):
    import duckdb as duck

    path, filesystem = place(archive)
    filters = [("where cluster = ? and date = ?", pair) for pair in wanted] or [("", [])]
    for where, values in filters:
        with duck.connect() as connection:
            if filesystem is None:
                options = "hive_types = {'cluster': VARCHAR, 'date': VARCHAR}" if typed else "hive_partitioning = true"
                source = f"read_parquet('{path.replace("'", "''")}{KEYS}', {options})"
            else:
                # DuckDB's own S3 client is an extension that it downloads; so it reads through pyarrow's
                import pyarrow.dataset as ds

                connection.register("source", ds.dataset(path, filesystem=filesystem, partitioning=partitioning(typed)))
                source = "source"
            query = f"select {', '.join(COLUMNS)} from {source} {where}"
            columns = connection.sql(query, params=list(values)).to_arrow_table()
            yield {name: columns[name].to_numpy() for name in COLUMNS}


def polars(archive, typed, wanted):
    import polars as pl

    options = {"hive_schema": {"cluster": pl.String, "date": pl.String}} if typed else {}
    if archive.startswith("s3://"):
        server = os.environ["AWS_ENDPOINT_URL"]
        options["storage_options"] = {"aws_endpoint_url": server, "aws_allow_http": "true"}
    # the pattern, as polars also reads what lies unfinished in _tmp/ if it is given the folder
    frame = pl.scan_parquet(archive + KEYS, hive_partitioning=True, **options)
    date = (lambda text: text) if typed else (lambda text: pl.lit(text).str.to_date())
    filters = [(pl.col("cluster") == cluster, pl.col("date") == date(day)) for cluster, day in wanted] or [()]
    for one in filters:
        found = frame.filter(*one).select(COLUMNS).collect()
        yield {name: found[name].to_numpy() for name in COLUMNS}


def lines(columns):
    value = columns["value"]
    assert value.dtype == "float32", value.dtype
    bits = [f"{v:08x}" for v in value.view("uint32")]
    texts = [list(map(text, columns[name])) for name in COLUMNS[:7]]
    for row in zip(*texts, columns["timestamp"], columns["frequency"], bits, strict=True):
        yield ",".join(map(str, row))


def text(name):
    return str(name).replace("\\", "\\\\").replace(",", "\\,").replace("\n", "\\n")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("reader", choices=["pandas", "pyarrow", "duckdb", "polars"])
    parser.add_argument("archive")
    parser.add_argument("--typed", action="store_true")
    parser.add_argument("--partition", nargs=2, action="append", default=[])
    args = parser.parse_args()
    for columns in globals()[args.reader](args.archive, args.typed, args.partition):
        sys.stdout.write("".join(f"{line}\n" for line in lines(columns)))


main()
