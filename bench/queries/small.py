"""A tree of very many small snapshots: 24 series a host, a value every half hour, two snapshots a day.

usage: small.py DIRECTORY HOSTS SNAPSHOTS
"""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from generate import BEGIN, HOURS, SMALL, SOCKET, as_bin, values

SECONDS = 1_800
PER_SNAPSHOT = HOURS * 3_600 // SECONDS


def series(random, snapshots, metrics):
    """Values of each metric, a row a snapshot."""
    return {name: values(random, kind, snapshots * PER_SNAPSHOT).reshape(snapshots, PER_SNAPSHOT) for name, kind in metrics.items()}


def main(directory, hosts, snapshots):
    for host in range(hosts):
        random = np.random.default_rng([host, snapshots, SECONDS])
        levels = [series(random, snapshots, metrics) for metrics in (SMALL, SOCKET, SOCKET)]
        folder = Path(directory) / "bench" / f"n{host:04}"
        folder.mkdir(parents=True)
        for number in range(snapshots):
            begin = BEGIN + number * HOURS * 3_600
            node, *sockets = [[(name, begin, found[number]) for name, found in level.items()] for level in levels]
            below = [(f"socket{socket}", level) for socket, level in enumerate(sockets)]
            (folder / f"{begin}.bin").write_bytes(as_bin(begin, begin + HOURS * 3_600, SECONDS, node, below))


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
