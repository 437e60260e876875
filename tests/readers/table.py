"""Reads an archive through its table with one of the libraries that know Delta Lake, and prints its rows.

usage: table.py deltalake|polars|duckdb ARCHIVE [--COLUMN VALUE]...

ARCHIVE is a directory or s3://bucket/prefix; then the AWS_* variables say where that is. One line a row, as read.py prints it. With --cluster,
--date, --hostname, --metric, --scope or --timestamp only rows with that value are asked for.
"""

import argparse
import datetime
import os
import pathlib
import shutil
import struct
import sys
import tempfile
import traceback

COLUMNS = ["cluster", "date", "hostname", "metric", "scope", "scope_id", "selector", "timestamp", "frequency", "value"]
TYPES = ["string", "date32[day]", "string", "string", "string", "string", "string", "int64", "int64", "float"]
ASKED = {"cluster": str, "date": datetime.date.fromisoformat, "hostname": str, "metric": str, "scope": str, "timestamp": int}


def storage_options(archive):
    if not archive.startswith("s3://"):
        return {}
    return {"aws_endpoint_url": os.environ["AWS_ENDPOINT_URL"], "aws_region": os.environ["AWS_REGION"], "aws_allow_http": "true"}


def deltalake(archive, wanted):
    import pyarrow.dataset as ds
    from deltalake import DeltaTable

    table = DeltaTable(archive, storage_options=storage_options(archive))
    condition = None
    for name, value in wanted:
        one = ds.field(name) == value
        condition = one if condition is None else condition & one
    return table.to_pyarrow_dataset().to_table(columns=COLUMNS, filter=condition)


def polars(archive, wanted):
    import polars as pl

    options = storage_options(archive)
    frame = pl.scan_delta(archive, storage_options=options) if options else pl.scan_delta(archive)
    return frame.filter(*(pl.col(name) == value for name, value in wanted)).select(COLUMNS).collect().to_arrow()


def duckdb(archive, wanted):
    import duckdb as duck
    import duckdb_extension_delta
    import duckdb_extension_httpfs

    # nothing of whoever runs the tests: neither settings nor extensions; nor those that another process is just installing
    home = tempfile.mkdtemp(prefix="cc-archiver-duckdb-")
    connection = duck.connect(config={"home_directory": home})
    for package in [duckdb_extension_httpfs, duckdb_extension_delta]:
        extension = next(pathlib.Path(package.__file__).parent.rglob("*.duckdb_extension"))
        connection.sql(f"INSTALL '{extension}'")
    connection.sql("LOAD delta")
    if archive.startswith("s3://"):
        keys = [f"{name} '{os.environ[variable]}'" for name, variable in [("KEY_ID", "AWS_ACCESS_KEY_ID"), ("SECRET", "AWS_SECRET_ACCESS_KEY"), ("REGION", "AWS_REGION")]]
        server = os.environ["AWS_ENDPOINT_URL"].partition("://")[2]
        connection.sql(f"CREATE SECRET (TYPE s3, {', '.join(keys)}, ENDPOINT '{server}', URL_STYLE 'path', USE_SSL false)")
    where = " AND ".join(f"{name} = ?" for name, _ in wanted) or "true"
    query = f"SELECT {', '.join(COLUMNS)} FROM delta_scan('{archive.replace("'", "''")}') WHERE {where}"
    found = connection.sql(query, params=[value for _, value in wanted]).to_arrow_table()
    connection.close()
    shutil.rmtree(home)
    return found


def lines(table):
    kinds = [str(table.schema.field(name).type).replace("large_string", "string").replace("string_view", "string") for name in COLUMNS]
    assert kinds == TYPES, kinds
    columns = {name: table[name].to_pylist() for name in COLUMNS}
    bits = [struct.pack(">f", value).hex() for value in columns["value"]]
    texts = [list(map(text, columns[name])) for name in COLUMNS[:7]]
    for row in zip(*texts, columns["timestamp"], columns["frequency"], bits, strict=True):
        yield ",".join(map(str, row))


def text(name):
    return str(name).replace("\\", "\\\\").replace(",", "\\,").replace("\n", "\\n")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("reader", choices=["deltalake", "polars", "duckdb"])
    parser.add_argument("archive")
    for name, kind in ASKED.items():
        parser.add_argument(f"--{name}", type=kind)
    args = parser.parse_args()
    wanted = [(name, getattr(args, name)) for name in ASKED if getattr(args, name) is not None]
    sys.stdout.write("".join(f"{line}\n" for line in lines(globals()[args.reader](args.archive, wanted))))
    sys.stdout.flush()


# threads that these libraries leave would abort the process while it is taken down, after a failure too
try:
    main()
except Exception:
    traceback.print_exc()
    sys.stderr.flush()
    os._exit(1)
os._exit(0)
