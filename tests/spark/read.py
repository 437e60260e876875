"""Reads an archive with Spark and prints its rows.

usage: read.py ARCHIVE [--table | --vacuum] [SETTING=VALUE]...

One line a row, as in expected.csv. With --table they are read by the table; with --vacuum the table is first tidied up, as somebody might who
knows nothing of its archive, and what is said goes to stderr. Without them what cluster and date are is left to Spark, as it is for those who just read the folder. A setting is one
of Spark's, such as spark.sql.parquet.enableVectorizedReader=false.
"""

import struct
import sys

from pyspark.sql import SparkSession

NAMES = ["cluster", "date", "hostname", "metric", "scope", "scope_id", "selector"]


def text(name):
    return str(name).replace("\\", "\\\\").replace(",", "\\,").replace("\n", "\\n")


def vacuum(spark, archive):
    spark.conf.set("spark.databricks.delta.retentionDurationCheck.enabled", "false")
    for call in ["VACUUM delta.`{}` RETAIN 0 HOURS", "VACUUM delta.`{}`", "DELETE FROM delta.`{}` WHERE hostname = 'n01'"]:
        try:
            spark.sql(call.format(archive)).collect()
            print(f"done: {call}", file=sys.stderr)
        except Exception as e:
            print(f"refused: {str(e)[:2000]}", file=sys.stderr)


def main():
    archive, flags = sys.argv[1], {flag for flag in sys.argv[2:] if flag.startswith("--")}
    settings = dict(setting.split("=", 1) for setting in sys.argv[2:] if setting not in flags)
    builder = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").config("spark.driver.bindAddress", "127.0.0.1")
    builder = builder.config("spark.driver.host", "127.0.0.1").config("spark.log.level", "ERROR")
    for name, value in settings.items():
        builder = builder.config(name, value)
    spark = builder.getOrCreate()
    if "--vacuum" in flags:
        vacuum(spark, archive)
    frame = spark.read.format("delta").load(archive) if flags else spark.read.parquet(archive)
    assert dict(frame.dtypes)["value"] == "float", frame.dtypes
    for row in frame.select(*NAMES, "timestamp", "frequency", "value").collect():
        value = struct.unpack("<I", struct.pack("<f", row["value"]))[0]
        print(",".join([*(text(row[name]) for name in NAMES), str(row["timestamp"]), str(row["frequency"]), f"{value:08x}"]))
    spark.stop()


main()
