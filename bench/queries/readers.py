"""Runs readers, each question in a process of its own, and measures them from outside."""

import json
import os
import statistics
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parents[1]
# name, environment
READERS = {"duckdb-1.5": "duckdb-1.5", "duckdb-2.0": "duckdb-2.0", "polars": "duckdb-2.0", "pyarrow": "duckdb-2.0"}
TITLES = {"duckdb-1.5": "DuckDB 1.5", "duckdb-2.0": "DuckDB 2.0", "polars": "Polars", "pyarrow": "pyarrow"}
# seconds after which a reader is ended
LIMIT = 300


@dataclass
class Cost:
    """What an answer took: its rows, requests, bytes of bodies, CPU seconds without the start of the reader."""

    rows: int
    requests: int
    bytes: int
    cpu: float

    @property
    def mb(self):
        return self.bytes / 1e6


def clean_environment():
    """Settings of whoever runs this are not those that are measured, and nothing goes through a proxy."""
    left_out = ("CC_ARCHIVER_", "AWS_", "POLARS_", "DUCKDB_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
    kept |= {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1", "AWS_EC2_METADATA_DISABLED": "true"}
    return kept | {"PYTHONDONTWRITEBYTECODE": "1"}


class Readers:
    """Their environments, and how long each takes to start."""

    def __init__(self, repeats):
        self.repeats, self.environment = repeats, clean_environment()
        self.python = {name: self.make(name) for name in sorted(set(READERS.values()))}
        self.start = {name: statistics.median(self.run(name, None)[1] for _ in range(3)) for name in READERS}

    def make(self, name):
        command = [PROJECT / "localstack" / "make-venv", PROJECT / ".venv" / f"bench-{name}", HERE / f"{name}.txt"]
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()

    def run(self, reader, question):
        """What it prints, and its CPU seconds."""
        command = [self.python[READERS[reader]], str(HERE / "ask.py"), reader]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=self.environment)
        limit = threading.Timer(LIMIT, process.kill)
        limit.start()
        try:
            json.dump(question, process.stdin)
            process.stdin.close()
            found = process.stdout.read().strip()
            _, status, usage = os.wait4(process.pid, 0)
        finally:
            limit.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            raise SystemExit(f"{reader}: exit code {process.returncode} for {question}")
        return found, usage.ru_utime + usage.ru_stime

    def ask(self, reader, question, server):
        """The median cost of a question."""
        costs = []
        for _ in range(self.repeats):
            server.counts.take()
            found, cpu = self.run(reader, question | {"server": server.address})
            costs.append(Cost(int(found), *server.counts.take(), max(0.0, cpu - self.start[reader])))
        columns = zip(*((c.rows, c.requests, c.bytes, c.cpu) for c in costs))
        rows, requests, count, cpu = map(statistics.median, columns)
        return Cost(int(rows), int(requests), int(count), cpu)

    def script(self, name, *arguments):
        """What one of the scripts in this folder prints."""
        command = [self.python["duckdb-2.0"], HERE / name, *arguments]
        return subprocess.run([str(word) for word in command], check=True, stdout=subprocess.PIPE, text=True, env=self.environment).stdout

    def archive(self, program, tree, target):
        command = [program, "archive", tree, target, "--min-age", "0s", "--quiet", "--progress", "never"]
        subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL, stderr=sys.stderr, env=self.environment)
