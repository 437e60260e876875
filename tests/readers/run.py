"""Runs the queries of a document with one reader, one after the other, and prints what each of them printed.

usage: run.py duckdb|polars|pandas|pyspark FOLDER

FOLDER is where they run, and holds them as blocks.json, a list of texts. For DuckDB that is SQL, and the rows of its last statement are
printed as plain columns; else it is Python, which prints by itself. What comes back is a JSON list of texts too.
"""

import contextlib
import importlib
import io
import json
import os
import pathlib
import sys


def columns(relation):
    """Rows as plain columns, with their names above."""
    if relation is None:
        return
    rows = [["NULL" if value is None else str(value) for value in row] for row in relation.fetchall()]
    table = [relation.columns, *rows]
    widths = [max(len(row[i]) for row in table) for i in range(len(relation.columns))]
    table.insert(1, ["-" * width for width in widths])
    for row in table:
        print("  ".join(value.ljust(width) for value, width in zip(row, widths)).rstrip())


def duckdb():
    import duckdb as duck

    # nothing of whoever runs the tests: neither settings nor extensions
    connection = duck.connect(config={"home_directory": os.getcwd()})
    for name in ["duckdb_extension_httpfs", "duckdb_extension_delta"]:
        with contextlib.suppress(ImportError):
            # what INSTALL downloads comes from PyPI here, so that it is pinned; INSTALL then finds it
            package = importlib.import_module(name)
            extension = next(pathlib.Path(package.__file__).parent.rglob("*.duckdb_extension"))
            connection.sql(f"INSTALL '{extension}'")
    return lambda block: columns(connection.sql(block))


def python():
    names = {"__name__": "__main__"}
    return lambda block: exec(compile(block, "block", "exec"), names)


def pyspark():
    import pyspark as package
    from pyspark.sql import SparkSession

    # a small Spark that talks to this machine only; the document's builder finds it and adds its own settings
    builder = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").config("spark.driver.bindAddress", "127.0.0.1")
    builder = builder.config("spark.driver.host", "127.0.0.1").config("spark.log.level", "ERROR").config("spark.sql.shuffle.partitions", 1)
    if any((pathlib.Path(package.__file__).parent / "jars").glob("delta-spark_*.jar")):
        # these cannot be added to a Spark that runs
        builder = builder.config("spark.sql.extensions", "io.delta.sql.DeltaSparkSessionExtension")
        builder = builder.config("spark.sql.catalog.spark_catalog", "org.apache.spark.sql.delta.catalog.DeltaCatalog")
    builder.getOrCreate()
    return python()


def main():
    reader, folder = sys.argv[1:]
    os.chdir(folder)
    blocks = json.loads(pathlib.Path("blocks.json").read_text())
    run = {"duckdb": duckdb, "polars": python, "pandas": python, "pyspark": pyspark}[reader]()
    outputs = []
    for block in blocks:
        printed = io.StringIO()
        try:
            with contextlib.redirect_stdout(printed):
                run(block)
        except Exception:
            print(f"this failed:\n{block}", file=sys.stderr)
            raise
        outputs.append(printed.getvalue())
    print(json.dumps(outputs), flush=True)
    if reader != "pyspark":
        # threads that some libraries leave would abort the process while it is taken down
        os._exit(0)


main()
