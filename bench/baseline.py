"""The script that a site would write: checkpoints to Parquet with NumPy and pyarrow, one file per cluster and date.

usage: baseline.py CHECKPOINTS OUT

It reads well-formed trees only, whole hosts at a time, and knows nothing of overlaps, faults, or what was archived before.
"""

import json
import re
import struct
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

NAMES = ["hostname", "metric", "scope", "scope_id", "selector"]
WORD = pa.dictionary(pa.int32(), pa.string())
SCHEMA = pa.schema([(name, WORD) for name in NAMES] + [("timestamp", pa.int64()), ("frequency", pa.int64()), ("value", pa.float32())])
DAY = 86_400


def of_bin(data):
    """Gives (path, metric, start, frequency, values) of a .bin snapshot."""
    at = 20

    def take(form):
        nonlocal at
        found = struct.unpack_from(form, data, at)
        at += struct.calcsize(form)
        return found

    def text():
        nonlocal at
        (size,) = take("<H")
        at += size
        return data[at - size : at].decode()

    def level(path):
        nonlocal at
        for _ in range(take("<I")[0]):
            metric = text()
            frequency, start, count = take("<qqI")
            yield path, metric, start, frequency, np.frombuffer(data, "<f4", count, at)
            at += 4 * count
        for _ in range(take("<I")[0]):
            yield from level((*path, text()))

    return level(())


def of_json(data):
    """The same of a .json snapshot."""

    def level(path, node):
        for metric, found in node["metrics"].items():
            yield path, metric, found["start"], found["frequency"], np.array(found["data"], dtype="f4")
        for name, child in node["children"].items():
            yield from level((*path, name), child)

    return level((), json.loads(data))


def place(path):
    """Scope, id and selector."""
    scope, number = re.fullmatch(r"([A-Za-z]+)(\d+)", path[-1]).groups() if path else ("node", "")
    return scope, number, "/".join(path)


def table(host, series):
    """The rows of a host's date: `series` are (metric, place, times, frequency, values)."""
    series.sort(key=lambda entry: (entry[0], entry[1], entry[2][0]))
    counts = [len(entry[2]) for entry in series]

    def words(column):
        known, codes = np.unique(column, return_inverse=True)
        return pa.DictionaryArray.from_arrays(np.repeat(codes.astype(np.int32), counts), pa.array(known.tolist(), pa.string()))

    columns = [words([host] * len(series)), words([entry[0] for entry in series])]
    columns += [words([entry[1][i] for entry in series]) for i in range(3)]
    columns.append(pa.array(np.concatenate([entry[2] for entry in series])))
    columns.append(pa.array(np.repeat([entry[3] for entry in series], counts)))
    columns.append(pa.array(np.concatenate([entry[4] for entry in series])))
    return pa.Table.from_arrays(columns, schema=SCHEMA)


def by_date(folder):
    """A host's series, cut at midnight, without NaN."""
    dates = {}
    for file in sorted(folder.iterdir()):
        read = {".bin": of_bin, ".json": of_json}[file.suffix]
        for path, metric, start, frequency, found in read(file.read_bytes()):
            where = place(path)
            times = start + frequency * np.arange(len(found))
            present = ~np.isnan(found)
            times, found = times[present], found[present]
            for date in np.unique(times // DAY).tolist():
                first, end = np.searchsorted(times, [date * DAY, (date + 1) * DAY])
                dates.setdefault(date, []).append((metric, where, times[first:end], frequency, found[first:end]))
    return dates


def main(checkpoints, out):
    for cluster in sorted(Path(checkpoints).iterdir()):
        writers = {}
        for folder in sorted(cluster.iterdir()):
            for date, series in sorted(by_date(folder).items()):
                if date not in writers:
                    target = Path(out) / f"cluster={cluster.name}" / f"date={np.datetime64(date, 'D')}"
                    target.mkdir(parents=True)
                    writers[date] = pq.ParquetWriter(
                        target / "rows.parquet",
                        SCHEMA,
                        compression="zstd",
                        compression_level=3,
                        use_dictionary=NAMES,
                        column_encoding={"timestamp": "DELTA_BINARY_PACKED", "frequency": "DELTA_BINARY_PACKED", "value": "BYTE_STREAM_SPLIT"},
                    )
                writers[date].write_table(table(folder.name, series), row_group_size=1 << 20)
        for writer in writers.values():
            writer.close()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
