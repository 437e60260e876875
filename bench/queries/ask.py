"""Asks an archive behind HTTP one question with one reader, and prints how many rows the answer has.

usage: ask.py READER    with the question as JSON on stdin, or `null`: then it loads the reader and does nothing

READER is duckdb-1.5, duckdb-2.0, polars or pyarrow. A question has `server` (host:port), `files`, `hive` (whether cluster and date stand in
the path), `columns`, `equal` (names or lists of names by column), `span` (two times, or null) and `group` (a column, or null).
"""

import json
import sys

TIMEOUT = 120


def sql_of(question, scheme):
    """The question as people write it in SQL."""

    def text(name):
        return "'" + name.replace("'", "''") + "'"

    conditions = []
    for column, names in question["equal"].items():
        conditions.append(f"{column} IN ({', '.join(map(text, names))})" if isinstance(names, list) else f"{column} = {text(names)}")
    if question["span"]:
        conditions += [f"timestamp >= {question['span'][0]}", f"timestamp < {question['span'][1]}"]
    group = question["group"]
    columns = f"{group}, avg(value)" if group else ", ".join(question["columns"])
    files = ", ".join(text(scheme + name) for name in question["files"])
    source = f"read_parquet([{files}], hive_partitioning = {str(question['hive']).lower()})"
    return f"SELECT {columns} FROM {source} WHERE {' AND '.join(conditions)}" + (f" GROUP BY {group}" if group else "")


def rows_of(connection, query):
    """The answer becomes a table in memory: all its columns are read, and no footer twice, as it is where the columns are asked for first."""
    return connection.execute(f"CREATE TABLE answer AS {query}").fetchone()[0]


def duckdb_15():
    import duckdb
    import duckdb_extension_httpfs
    from pathlib import Path

    def ask(question):
        folder = Path(next(iter(duckdb_extension_httpfs.__path__)))
        with duckdb.connect() as connection:
            connection.execute(f"LOAD '{next(folder.rglob('httpfs.duckdb_extension'))}'")
            return rows_of(connection, sql_of(question, f"http://{question['server']}/"))

    return ask


def duckdb_20():
    import duckdb
    import fsspec
    import ranges

    def ask(question):
        with duckdb.connect() as connection:
            connection.register_filesystem(ranges.file_system(fsspec, question["server"], TIMEOUT))
            return rows_of(connection, sql_of(question, "ranges://"))

    return ask


def polars():
    import datetime
    import polars as pl

    def ask(question):
        frame = pl.scan_parquet([f"http://{question['server']}/{name}" for name in question["files"]], hive_partitioning=question["hive"])
        for column, names in question["equal"].items():
            if column == "date":
                names = datetime.date.fromisoformat(names)
            frame = frame.filter(pl.col(column).is_in(names) if isinstance(names, list) else pl.col(column) == names)
        if question["span"]:
            frame = frame.filter(pl.col("timestamp") >= question["span"][0], pl.col("timestamp") < question["span"][1])
        return frame.select(question["columns"]).collect().height

    return ask


def pyarrow():
    import pyarrow.dataset as ds
    from pyarrow.fs import S3FileSystem

    def ask(question):
        store = S3FileSystem(anonymous=True, scheme="http", endpoint_override=question["server"], region="us-east-1", request_timeout=TIMEOUT)
        dataset = ds.dataset(question["files"], filesystem=store, format="parquet", partitioning="hive" if question["hive"] else None)
        wanted = ds.scalar(True)
        for column, names in question["equal"].items():
            field = ds.field(column)
            wanted &= field.isin(names) if isinstance(names, list) else field == names
        if question["span"]:
            wanted &= (ds.field("timestamp") >= question["span"][0]) & (ds.field("timestamp") < question["span"][1])
        return dataset.to_table(columns=question["columns"], filter=wanted).num_rows

    return ask


READERS = {"duckdb-1.5": duckdb_15, "duckdb-2.0": duckdb_20, "polars": polars, "pyarrow": pyarrow}


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in READERS:
        sys.exit(__doc__)
    ask, question = READERS[sys.argv[1]](), json.load(sys.stdin)
    print(ask(question) if question else "")
