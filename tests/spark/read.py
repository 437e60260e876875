"""Reads an archive with Spark and prints its rows.

usage: read.py ARCHIVE [SETTING=VALUE]...

One line a row, as in expected.csv. What cluster and date are is left to Spark, as it is for those who just read the folder; a setting is
one of Spark's, such as spark.sql.parquet.enableVectorizedReader=false.
"""

import struct
import sys

from pyspark.sql import SparkSession

NAMES = ["cluster", "date", "hostname", "metric", "scope", "scope_id", "selector"]


def text(name):
    return str(name).replace("\\", "\\\\").replace(",", "\\,").replace("\n", "\\n")


def main():
    archive, settings = sys.argv[1], dict(setting.split("=", 1) for setting in sys.argv[2:])
    builder = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").config("spark.driver.bindAddress", "127.0.0.1")
    builder = builder.config("spark.driver.host", "127.0.0.1").config("spark.log.level", "ERROR")
    for name, value in settings.items():
        builder = builder.config(name, value)
    spark = builder.getOrCreate()
    frame = spark.read.parquet(archive)
    assert dict(frame.dtypes)["value"] == "float", frame.dtypes
    for row in frame.select(*NAMES, "timestamp", "frequency", "value").collect():
        value = struct.unpack("<I", struct.pack("<f", row["value"]))[0]
        print(",".join([*(text(row[name]) for name in NAMES), str(row["timestamp"]), str(row["frequency"]), f"{value:08x}"]))
    spark.stop()


main()
