"""A site: trees, archives and runs of cc-archiver, and what Prometheus had of them after each, on a timeline of its own."""

import itertools
import json
import os
import signal
import struct
import subprocess
import threading
import time
import zlib

from chain import name_of

HOUR = 3600
# Times of runs. All other times are those of snapshots and samples, which have the timeline's calendar.
RUNS = {
    "cc_archiver_last_run_timestamp_seconds": range(6),
    "cc_archiver_last_success_timestamp_seconds": (0,),
    "cc_archiver_last_complete_run_start_timestamp_seconds": (0, 3),
}
# Ages at the end of a run, and the time that is left then: how they move with it.
SPANS = {
    "cc_archiver_oldest_waiting_log_sample_age_seconds": 1,
    "cc_archiver_oldest_unarchived_snapshot_age_seconds": 1,
    "cc_archiver_oldest_unarchived_snapshot_deletion_in_seconds": -1,
}
ENVIRONMENT = {name: os.environ[name] for name in ("PATH", "TMPDIR") if name in os.environ} | {
    "NO_PROXY": "127.0.0.1",
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
}
run_ids = (f"run-{number}" for number in itertools.count())


def level(metrics):
    """One of a .bin snapshot: {metric: (frequency, start, values)}."""
    text = struct.pack("<I", len(metrics))
    for name, (frequency, start, values) in metrics.items():
        name = name.encode()
        text += struct.pack("<H", len(name)) + name + struct.pack(f"<qqI{len(values)}f", frequency, start, len(values), *values)
    return text + struct.pack("<I", 0)


def log_of(records):
    """A current.wal of node metrics: [(time, metric, value)]."""
    text = struct.pack("<I", 0xCC1DA701)
    for at, metric, value in records:
        metric = metric.encode()
        payload = struct.pack("<qH", at, len(metric)) + metric + struct.pack("<Bf", 0, value)
        text += struct.pack("<II", 0xCC1DA7A1, len(payload)) + payload + struct.pack("<I", zlib.crc32(payload))
    return text


class Site:
    """One machine with a tree and an archive. Hours count from the begin of its timeline, `base`, which is in the past."""

    def __init__(self, binary, work, chain, store, base, name, machine="cc-backend"):
        self.binary, self.chain, self.store, self.base, self.machine = binary, chain, store, base, machine
        self.work = work / name
        self.tree, self.archive_folder = self.work / "tree", self.work / "archive"
        self.tree.mkdir(parents=True)
        self.archive_target = [str(self.archive_folder)]
        self.hours = 0
        self.name = name
        self.events = []  # (hours, (job, instance), {series: value}), as they would have been at that time
        self.raw = {}
        self.expected = []  # (hours, names)
        self.wrong = []

    # --- the tree

    def in_s3(self):
        self.archive_target = self.store.archive(self.name)
        return self

    def time(self, hours):
        return self.base + int(hours * HOUR)

    def snapshot(self, begin, length=6, host="n01", cluster="fritz", values=None, metrics=("cpu_load", "mem_used")):
        """Of `length` hours, with a sample each ten minutes."""
        start = self.time(begin)
        count = int(length * 6)
        data = {metric: (600, start, values or [(start // 600 + n) % 144 / 10 for n in range(count)]) for metric in metrics}
        text = struct.pack("<Iqq", 0xCC5B0001, start, start + int(length * HOUR)) + level(data)
        return self.put(f"{cluster}/{host}/{start}.bin", text)

    def damaged(self, begin, **place):
        path = self.snapshot(begin, **place)
        path.write_bytes(path.read_bytes()[:-30])
        # a young one may still be being written
        os.utime(path, (self.base, self.base))
        return path

    def log(self, records, host="n01", cluster="fritz"):
        return self.put(f"{cluster}/{host}/current.wal", log_of([(self.time(at), metric, value) for at, metric, value in records]))

    def put(self, name, data):
        path = self.tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path

    # --- runs

    def at(self, hours):
        self.hours = hours
        self.store.clock = lambda: self.time(hours)
        return self

    def ago(self, hours):
        """An age that reaches back to this hour of the timeline, as an option."""
        return f"{int(time.time()) - self.time(hours)}s"

    def line(self, command, *flags, group=None):
        trees = [str(self.tree)] if command in ("archive", "prune") else []
        to = ["--metrics-push", f"{self.chain.gateway.url}/metrics/job/cc-archiver/instance/{group}/command/{command}"]
        file = ["--metrics-file", str(self.chain.folders[self.machine] / f"cc-archiver-{command}.prom")]
        run_id = next(run_ids)
        return run_id, [self.binary, command, *trees, *self.archive_target, *flags, *(to if group else file), "--run-id", run_id]

    def start(self, command, *flags, **where):
        run_id, line = self.line(command, *flags, **where)
        return run_id, subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=ENVIRONMENT)

    def run(self, command, *flags, code=0, group=None):
        """Runs, and notes what Prometheus then has of it. `code`: the exit code that it must have."""
        run_id, process = self.start(command, *flags, group=group)
        self.ended(command, run_id, process, code)

    def ended(self, command, run_id, process, code):
        said, _ = process.communicate(timeout=120)
        if process.returncode != code:
            raise SystemExit(f"hour {self.hours}: {command} ended with {process.returncode}, not {code}: {said[-3000:]}")
        seen, place = self.chain.seen(run_id)
        self.note(seen, place, command, code)

    def archive(self, *flags, **how):
        self.run("archive", *flags, **how)

    def stalled(self, command, *flags):
        """A run that waits for the store: (its name, its process, what lets it go on)."""
        reached, go_on = threading.Event(), threading.Event()

        def wait(method, key):
            if method == "PUT" and key.endswith(".parquet"):
                reached.set()
                go_on.wait(30)

        self.store.fault = wait
        run_id, process = self.start(command, *flags)
        if not reached.wait(30):
            raise SystemExit(f"{self.name}: {command} never came to the store")
        return run_id, process, lambda: (self.store.heal(), go_on.set())

    def interrupted(self, code, *flags):
        """A run of archive that a signal ends: told to (5), or killed, which leaves no metrics (-9)."""
        run_id, process, go_on = self.stalled("archive", *flags)
        process.send_signal(signal.SIGTERM if code == 5 else signal.SIGKILL)
        if code == 5:
            self.ended("archive", run_id, process, code)
        elif process.wait() != code:
            raise SystemExit(f"{self.name}: killed, but ended with {process.returncode}")
        go_on()

    # --- the timeline

    def note(self, seen, place, command, code):
        """Times of runs move to where they are on the timeline, and spans with them. What the run left as it was does not move again."""
        before, moved_before = self.raw.get(place, ({}, {}))
        end = next(value for series, value in seen.items() if name_of(series) == "cc_archiver_last_run_timestamp_seconds" and f'"{command}"' in series)
        back = end - self.time(self.hours)
        moved = {}
        for series, value in seen.items():
            name, mine = name_of(series), f'command="{command}"' in series
            # of two runs within a second these have the same value
            timed = name in RUNS or name in SPANS
            anew = mine and (code in RUNS.get(name, (0, 3)) if timed else before.get(series) != value)
            if not anew and series in moved_before:
                moved[series] = moved_before[series]
            elif name in RUNS:
                moved[series] = value - back
            elif name in SPANS and value:
                moved[series] = value - back * SPANS[name]
            else:
                moved[series] = value
        self.raw[place] = (seen, moved)
        self.events.append((self.hours, place, moved))

    def gone(self, hours, place=None):
        """Prometheus has nothing of the machine, or group, from then on."""
        place = place or ("node", self.machine)
        self.raw.pop(place, None)
        self.events.append((hours, place, {}))

    def again(self, every, end):
        """The last run of archive is repeated with nothing new: its times move, and it is counted."""
        hours, place, sheet = self.events[-1]
        while hours + every <= end:
            hours += every
            sheet = dict(sheet)
            for series in sheet:
                if 'command="archive"' in series:
                    sheet[series] += every * HOUR if name_of(series) in RUNS else 'runs_total{command="archive",exit_code="0"' in series
            self.events.append((hours, place, sheet))
        self.raw[place] = (self.raw[place][0], sheet)
        self.at(hours)

    def expect(self, hours, *names):
        """At that time these alerts fire, and no others."""
        self.expected.append((hours, sorted(names)))

    def live(self, fires=(), over=()):
        """Now, in the Prometheus that scrapes, some alerts fire, and others do not."""
        end = time.monotonic() + 20
        while time.monotonic() < end:
            firing = set(self.chain.prometheus.firing())
            if set(fires) <= firing and not set(over) & firing:
                return
            time.sleep(0.1)
        self.wrong.append(f"{self.name}: alerts that fire now are {sorted(firing)}, with {sorted(fires)} and without {sorted(over)} expected")

    def settings(self, **section):
        path = self.work / "cc-backend.json"
        path.write_text(json.dumps({"metric-store": section}))
        return str(path)
