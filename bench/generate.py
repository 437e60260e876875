"""Checkpoint trees to measure with, the same ones for the same arguments.

usage: generate.py PROFILE bin|json DIRECTORY HOSTS [SNAPSHOTS]

typical  a node of 72 hwthreads and 2 sockets: 608 series, a value a minute, four snapshots of 12 hours
large    a node of 128 hwthreads, 2 sockets and 4 accelerators: 1,080 series, a value every 10 s, four snapshots of 12 hours
small    a node of 24 series, a value a minute, four snapshots of 12 hours

Prints how many samples there are. With SNAPSHOTS a host has that many instead of four.
"""

import struct
import sys
from pathlib import Path

import numpy as np

BEGIN = 1_772_323_200  # 2026-03-01T00:00:00Z
SNAPSHOTS, HOURS = 4, 12

# per level: metrics, and what their values are like
HOST = {
    "cpu_load": "walk", "cpu_user": "noise", "cpu_system": "noise", "cpu_iowait": "bursts", "mem_used": "walk", "mem_cached": "walk",
    "net_bytes_in": "bursts", "net_bytes_out": "bursts", "net_pkts_in": "bursts", "net_pkts_out": "bursts", "ib_recv": "bursts",
    "ib_xmit": "bursts", "ib_recv_pkts": "bursts", "ib_xmit_pkts": "bursts", "lustre_open": "count", "lustre_close": "count",
    "lustre_read_bw": "bursts", "lustre_write_bw": "bursts", "proc_run": "count", "proc_total": "count",
}
THREAD = {
    "clock": "noise", "core_power": "noise", "cpu_irq": "count", "cpu_usage": "walk", "flops_any": "noise", "flops_dp": "bursts",
    "flops_sp": "bursts", "ipc": "noise",
}
SOCKET = {"cpu_power": "noise", "dram_power": "noise", "mem_bw": "noise", "mem_read": "bursts", "mem_write": "bursts", "temperature": "count"}
ACCELERATOR = {"acc_mem_used": "walk", "acc_power": "noise", "acc_util": "count", "acc_clock": "count", "acc_temp": "count", "acc_busy": "bursts"}
SMALL = dict(list(HOST.items())[:12])

# seconds between values, metrics of the host, levels below
PROFILES = {
    "typical": (60, HOST, [("hwthread", 72, THREAD), ("socket", 2, SOCKET)]),
    "large": (10, HOST, [("hwthread", 128, THREAD), ("socket", 2, SOCKET), ("accelerator", 4, ACCELERATOR)]),
    "small": (60, SMALL, [("socket", 2, SOCKET)]),
}


def values(random, kind, count):
    """What a metric does while jobs come and go: a level a job, and some of the time none; one value in 500 is missing."""
    level = 20 + 2_000 * random.random()
    running = (np.cumsum(random.random(count) < 1 / 240) + random.integers(2)) % 2 == 0
    if kind == "walk":
        found = (level + np.cumsum(random.standard_normal(count)) * level / 400).round(2)
    elif kind == "noise":
        found = np.where(running, level * (1 + random.standard_normal(count) / 20), random.random(count) / 100)
    elif kind == "bursts":
        found = np.where(running, np.abs(level * (1 + random.standard_normal(count) / 5)), 0)
    else:
        found = round(level) + random.integers(4, size=count)
    found = found.astype("<f4")
    found[random.random(count) < 1 / 500] = np.nan
    return found


def level(random, begin, frequency, metrics):
    count = HOURS * 3_600 // frequency
    return [(name, begin + int(random.integers(3)), values(random, kind, count)) for name, kind in metrics.items()]


def as_bin(begin, end, frequency, host, below):
    out = bytearray(struct.pack("<Iqq", 0xCC5B0001, begin, end))

    def text(name):
        out.extend(struct.pack("<H", len(name)) + name.encode())

    def add(metrics, children):
        out.extend(struct.pack("<I", len(metrics)))
        for name, start, found in metrics:
            text(name)
            out.extend(struct.pack("<qqI", frequency, start, len(found)) + found.tobytes())
        out.extend(struct.pack("<I", len(children)))
        for name, metrics in children:
            text(name)
            add(metrics, [])

    add(host, below)
    return bytes(out)


def as_json(begin, end, frequency, host, below):
    def number(value):
        return "null" if value != value else f"{value:.1f}"

    def metrics_of(metrics):
        entries = (f'"{name}":{{"frequency":{frequency},"start":{start},"data":[{",".join(map(number, found.tolist()))}]}}' for name, start, found in metrics)
        return "{" + ",".join(entries) + "}"

    span = f'"from":{begin},"to":{end}'
    children = ",".join(f'"{name}":{{{span},"metrics":{metrics_of(metrics)},"children":{{}}}}' for name, metrics in below)
    return f'{{{span},"metrics":{metrics_of(host)},"children":{{{children}}}}}'.encode()


def generate(profile, kind, directory, hosts, snapshots=SNAPSHOTS):
    frequency, metrics, levels = PROFILES[profile]
    samples = 0
    for index in range(hosts):
        random = np.random.default_rng([index, len(levels), frequency])
        folder = Path(directory) / "bench" / f"n{index:04}"
        folder.mkdir(parents=True)
        for number in range(snapshots):
            begin = BEGIN + number * HOURS * 3_600
            end = begin + HOURS * 3_600
            host = level(random, begin, frequency, metrics)
            below = [(f"{name}{i}", level(random, begin, frequency, metrics)) for name, count, metrics in levels for i in range(count)]
            samples += sum(np.count_nonzero(found == found) for _, _, found in host + [entry for _, entries in below for entry in entries])
            write = as_bin if kind == "bin" else as_json
            (folder / f"{begin}.{kind}").write_bytes(write(begin, end, frequency, host, below))
    return samples


if __name__ == "__main__":
    if len(sys.argv) not in (5, 6) or sys.argv[1] not in PROFILES or sys.argv[2] not in ("bin", "json"):
        sys.exit(__doc__)
    print(generate(*sys.argv[1:4], *map(int, sys.argv[4:])))
