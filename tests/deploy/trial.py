"""Goes through docs/first-night.md on a machine that has nothing but the package: trial.py PACKAGES MINIO MC DUCKDB_PYTHON

The machine is a fresh Debian with systemd as its first process, in namespaces of its own (systemd-nspawn), without a network but the loopback: there a MinIO
runs, and cc-backend's configuration and checkpoints lie where a site has them. Every command of the page is run as it stands, by somebody who may use
sudo; only https becomes http, as the MinIO has no certificate. What each must come to stands in EXPECTED, and a command without an expectation is a
finding, as is an expectation without a command. Then the .rpm is installed, upgraded and removed there: rpm runs on Debian too, without what it depends on.

PACKAGES has the packages, and below older/ those of an earlier version. DUCKDB_PYTHON has DuckDB and its extension httpfs.
"""

import fcntl
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
PAGE = REPO / "docs/first-night.md"
GOLDEN = REPO / "tests/fixtures/golden/checkpoints"
INCLUDED = ["systemd", "systemd-sysv", "dbus", "ca-certificates", "sudo", "rpm"]
ADMIN = ("ADMIN", "PASSWORD")
PATIENCE = 120

CONFIG = "/etc/cc-archiver/config.json"
UNITS = sorted(path.name for pattern in ("*.service", "*.timer") for path in (REPO / "deploy/systemd").glob(pattern))
INSTALLED = [
    "usr/bin/cc-archiver",
    "usr/share/man/man1/cc-archiver.1.gz",
    "usr/share/man/man1/cc-archiver-archive.1.gz",
    "usr/share/bash-completion/completions/cc-archiver",
    "usr/share/fish/vendor_completions.d/cc-archiver.fish",
    "usr/share/doc/cc-archiver/docs/first-night.md",
    "usr/share/doc/cc-archiver/deploy/iam/archive.json",
    "usr/share/doc/cc-archiver/third-party-licences.txt.gz",
    "usr/share/doc/cc-archiver/cc-archiver.cdx.json",
]

findings = []


def expect(what, condition, detail=""):
    print(f"{'ok' if condition else 'FOUND'}: {what}{'' if condition else f': {detail}'}", flush=True)
    if not condition:
        findings.append(what)


def steps(page):
    """The page's commands and queries, in their order: (kind, text)."""
    for fence, indented in re.findall(r"^```sql\n(.*?)^```|^    (\S[^\n]*)$", page, re.M | re.S):
        yield ("sql", fence) if fence else ("sh", indented)


class Machine:
    """A Debian that has booted."""

    def __init__(self, root):
        self.root = root
        command = ["systemd-nspawn", "--quiet", "--directory", str(root), "--boot", "--register=no", "--keep-unit", "--private-network", "--link-journal=no", "--console=pipe"]
        self.log = open(root.parent / "console", "wb")
        self.nspawn = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, start_new_session=True)
        self.leader = self.wait(self.child, "its first process")
        self.wait(lambda: self.run("systemctl", "is-system-running", check=False).stdout.strip() in ("running", "degraded"), "systemd")
        failed = self.run("systemctl", "list-units", "--failed", "--plain", "--no-legend").stdout
        expect("a fresh Debian has booted, with systemd as its first process", failed == "", failed)

    def wait(self, found, what):
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end and self.nspawn.poll() is None:
            value = found()
            if value:
                return value
            time.sleep(0.1)
        self.stop()
        sys.exit(f"tests/deploy/trial: {what} does not come up:\n{(self.root.parent / 'console').read_text(errors='replace')}")

    def child(self):
        listed = Path(f"/proc/{self.nspawn.pid}/task/{self.nspawn.pid}/children").read_text().split()
        # until it has begun to boot, it is still a copy of nspawn
        return next((pid for pid in listed if Path(f"/proc/{pid}/comm").read_text().strip() == "systemd"), None)

    def inside(self, *command):
        return ["nsenter", "--target", self.leader, "--all", "env", "-i", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", *command]

    def run(self, *command, check=True):
        done = subprocess.run(self.inside(*command), capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if check and done.returncode:
            sys.exit(f"tests/deploy/trial: {' '.join(command)}: {done.stdout}{done.stderr}")
        return done

    def typed(self, line, answers):
        """What somebody sees who types a line, and answers what is asked; and how it ended."""
        child, terminal = pty.fork()
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 160, 0, 0)) if child else None
        if child == 0:
            command = self.inside("runuser", "-l", "admin", "-c", line)
            os.execvp(command[0], command)
        seen, answered, end = "", 0, time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if not select.select([terminal], [], [], 1)[0]:
                continue
            try:
                chunk = os.read(terminal, 65536)
            except OSError:
                break
            if not chunk:
                break
            seen += chunk.decode(errors="replace").replace("\r\n", "\n")
            for prompt, answer in list(answers.items()):
                if prompt in seen[answered:]:
                    answered = len(seen)
                    # what is typed before the program reads would be dropped
                    while " init" in line and termios.tcgetattr(terminal)[3] & termios.ECHO and time.monotonic() < end:
                        time.sleep(0.01)
                    os.write(terminal, f"{answer}\n".encode())
                    del answers[prompt]
        else:
            os.kill(child, signal.SIGKILL)
            seen += f"\nnot done after {PATIENCE} s"
        os.close(terminal)
        return seen, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    def stop(self):
        for _ in range(2):
            self.nspawn.terminate()
            try:
                self.nspawn.wait(20)
                return
            except subprocess.TimeoutExpired:
                pass
        self.nspawn.kill()
        self.nspawn.wait()


def debian(scratch):
    """A root directory that is a Debian, with cc-backend's files and somebody who may use sudo."""
    root = scratch / "root"
    subprocess.run(["mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(INCLUDED)}", release(), str(root), *sources()], check=True)
    backend = root / "opt/monitoring/cc-backend"
    shutil.copytree(GOLDEN, backend / "var/checkpoints")
    (backend / "config.json").write_text('{"metric-store": {"checkpoints": {"directory": "./var/checkpoints", "interval": "12h"}, "retention-in-memory": "48h"}}')
    (root / "etc/hostname").write_text("site\n")
    (root / "etc/hosts").write_text("127.0.0.1 localhost site minio.example.org\n")
    (root / "etc/sudoers.d/admin").write_text("admin ALL=(ALL) NOPASSWD: ALL\n")
    subprocess.run(["chroot", str(root), "useradd", "--create-home", "--shell", "/bin/bash", "admin"], check=True)
    return root


def release():
    return dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)["VERSION_CODENAME"]


def sources():
    """Where this machine's packages come from."""
    places = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("debian*"))]
    return [str(place) for place in places if place.is_file() and place.stat().st_size]


def holds(*parts):
    return lambda machine, seen: [part for part in parts if part not in seen]


def units_are_on(machine, seen):
    on = machine.run("systemctl", "is-enabled", "cc-archiver.timer", "cc-archiver-verify.timer", check=False).stdout.split()
    active = machine.run("systemctl", "is-active", "cc-archiver.timer", "cc-archiver-verify.timer", check=False).stdout.split()
    return [] if on == ["enabled"] * 2 and active == ["active"] * 2 else [f"{on} {active}"]


def config_is_private(machine, seen):
    stat = machine.run("stat", "--format=%U %a", CONFIG).stdout.strip()
    return holds("as cc-archiver", "0 errors", "dry run: nothing was written", "sudo systemctl enable --now")(machine, seen) + ([] if stat == "root 600" else [stat])


def nothing_is_on(machine, seen):
    """What an installation brings, and that nothing of it runs."""
    listed = [line.split() for line in machine.run("systemctl", "list-unit-files", "cc-archiver*", "--no-legend").stdout.splitlines()]
    wrong = [unit for unit, state, *_ in listed if state not in ("static", "disabled")] + ([] if len(listed) == len(UNITS) else [f"units: {listed}"])
    verified = machine.run("systemd-analyze", "verify", *UNITS, check=False)
    wrong += [verified.stdout + verified.stderr] if verified.returncode or verified.stderr else []
    wrong += [path for path in INSTALLED if not (machine.root / path).is_file()]
    wrong += [] if machine.run("id", "cc-archiver", check=False).returncode == 0 else ["no user"]
    wrong += [] if machine.run("stat", "--format=%U %a", CONFIG).stdout == "root 600\n" else ["config.json can be read"]
    refused = machine.run("cc-archiver", "archive", "--config", CONFIG, check=False)
    return wrong + ([] if refused.returncode == 2 and "what the example has" in refused.stderr else [f"with the example: {refused.stderr}"])


def newer_is_there(machine, seen):
    config = machine.run("grep", "--quiet", "A-LONG-SECRET", CONFIG, check=False).returncode
    return units_are_on(machine, seen) + (["the configuration is another one"] if config else [])


def is_removed(machine, seen):
    there = [path for path in ["/usr/bin/cc-archiver", "/usr/lib/systemd/system/cc-archiver.service"] if (machine.root / path[1:]).exists()]
    return there + ([] if (machine.root / "etc/cc-archiver/config.json").exists() else ["remove took the configuration"])


def is_purged(machine, seen):
    there = [path for path in ["etc/cc-archiver", "usr/share/doc/cc-archiver"] if (machine.root / path).exists()]
    kept = (machine.root / "opt/monitoring/cc-backend/var/checkpoints/alpha").exists()
    return there + ([] if kept else ["the checkpoints are gone"])


ANSWERS = {
    "a directory, or s3://": "s3://monitoring/archive",
    "empty: AWS": "http://minio.example.org:9000",
    "Access key": "cc-archiver",
    "Secret key": "A-LONG-SECRET",
    "Do you want to continue?": "y",
}
# for each command of the page, by its beginning and in its order, what must be so after it: an empty list if all is
EXPECTED = [
    ("sudo apt-get install", nothing_is_on),
    ("mc alias set", holds("Added `site` successfully")),
    ("mc mb", holds("Bucket created successfully")),
    ("mc admin policy create", holds("Created policy")),
    ("mc admin user add", holds("Added user")),
    ("mc admin policy attach", holds("Attached Policies")),
    ("sudo cc-archiver init", config_is_private),
    ("sudo cc-archiver doctor", holds("0 errors")),
    ("sudo systemctl start cc-archiver.service", holds()),
    ("sudo journalctl -u cc-archiver.service", holds("14 snapshots of 10 of 13 hosts, 5,179 rows in 4 objects", "exit_code=0")),
    ("sudo systemctl enable --now", units_are_on),
    ("systemctl list-timers", holds("cc-archiver.timer", "cc-archiver-verify.timer")),
    ("sudo cc-archiver ls", holds("alpha", "beta")),
    ("sudo cc-archiver coverage", holds("alpha", "beta")),
    ("SELECT", None),
    ("sudo cc-archiver prune", holds("dry run")),
    ("sudo systemctl start cc-archiver-verify.service", holds()),
    ("sudo journalctl -u cc-archiver-verify.service", holds("exit_code=0")),
    ("sudo cc-archiver verify", holds("5,179")),
    ("sudo apt-get install", newer_is_there),
    ("sudo apt-get remove", is_removed),
    ("sudo apt-get purge", is_purged),
]


def ask(machine, python, query):
    """Rows of a query that DuckDB asks in the machine's network."""
    setup, _, select_ = query.partition("SELECT")
    setup = setup.replace("'minio.example.org:9000'", "'127.0.0.1:9000'").replace("URL_STYLE 'path'", "URL_STYLE 'path', USE_SSL false")
    extension = "import pathlib, duckdb_extension_httpfs as e; path = next(pathlib.Path(e.__file__).parent.rglob('httpfs.duckdb_extension'))"
    script = f"{extension}\nimport duckdb\nsetup = {setup!r}.replace('INSTALL httpfs', f\"INSTALL '{{path}}'\")\nduckdb.sql(setup)\nprint(duckdb.sql({'SELECT' + select_!r}).fetchall())"
    done = subprocess.run(["nsenter", "--target", machine.leader, "--net", python, "-c", script], capture_output=True, text=True)
    return done.stdout + done.stderr


def one(folder, pattern):
    found = list(folder.glob(pattern))
    if len(found) != 1:
        sys.exit(f"tests/deploy/trial: one {pattern} is needed in {folder}, not {len(found)}")
    return found[0]


def main():
    packages, (minio, mc, python) = Path(sys.argv[1]), sys.argv[2:]
    with tempfile.TemporaryDirectory(prefix="cc-archiver-trial-") as scratch:
        begun = time.monotonic()
        root = debian(Path(scratch))
        for program in minio, mc:
            shutil.copy(program, root / "usr/local/bin")
        print(f"a Debian of {', '.join(INCLUDED)}: {time.monotonic() - begun:.0f} s", flush=True)
        machine = Machine(root)
        try:
            go_through(machine, one(packages / "older", "*.deb"), one(packages, "*.deb"), python)
            as_rpm(machine, one(packages / "older", "*.rpm"), one(packages, "*.rpm"))
        finally:
            machine.stop()
    if findings:
        sys.exit(f"tests/deploy/trial: {len(findings)} findings")


def go_through(machine, deb, newer, python):
    home = machine.root / "home/admin"
    server = ["--setenv=MINIO_ROOT_USER=" + ADMIN[0], "--setenv=MINIO_ROOT_PASSWORD=" + ADMIN[1], "minio", "server", "--quiet", "--address", "127.0.0.1:9000", "/srv/minio"]
    machine.run("systemd-run", "--unit=minio", *server)
    machine.wait(lambda: machine.run("bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/9000", check=False).returncode == 0, "MinIO")
    wanted, installs, commands, begun = list(EXPECTED), [deb, newer], 0, time.monotonic()
    for kind, text in steps(PAGE.read_text()):
        beginning, check = wanted.pop(0) if wanted else ("nothing", None)
        if kind == "sql":
            said = ask(machine, python, text)
            expect("DuckDB counts what is archived", beginning == "SELECT" and said.count("datetime.date(2026, 3, ") == 4 and sum(map(int, re.findall(r"\), (\d+), ", said))) == 5179, said)
            continue
        commands += 1
        if not text.startswith(beginning):
            expect(f"the page goes on with {beginning}", False, text)
            break
        if text.startswith("sudo apt-get install"):
            for old in home.glob("*.deb"):
                old.unlink()
            shutil.copy(installs.pop(0), home)
        said, code = machine.typed(text.replace("https://", "http://"), dict(ANSWERS))
        wrong = [] if code == 0 else [f"exit code {code}"]
        expect(text, not (wrong := wrong + check(machine, said)), f"{wrong}\n{said}")
    expect("every expectation had its command", not wanted, str([beginning for beginning, _ in wanted]))
    print(f"{commands} commands in {time.monotonic() - begun:.0f} s", flush=True)


def as_rpm(machine, older, newer):
    """The .rpm, on a machine from which the .deb is gone."""
    rpm = ["rpm", "--nodeps"]
    for name, package in ("older", older), ("newer", newer):
        shutil.copy(package, machine.root / f"srv/{name}.rpm")
    done = machine.run(*rpm, "--install", "/srv/older.rpm")
    wrong = nothing_is_on(machine, "") + ([] if (machine.root / "usr/share/zsh/site-functions/_cc-archiver").is_file() else ["no completions for zsh"])
    expect("rpm --install", not wrong, f"{wrong} {done.stderr}")
    machine.run("sed", "-i", "s|s3://EDIT-ME/archive|/srv/archive|; /EDIT-ME/d", CONFIG)
    before = machine.run("cat", CONFIG).stdout
    machine.run("systemctl", "enable", "--now", "cc-archiver.timer", "cc-archiver-verify.timer")
    machine.run(*rpm, "--upgrade", "/srv/newer.rpm")
    wrong = units_are_on(machine, "") + ([] if machine.run("cat", CONFIG).stdout == before else ["the configuration is another one"])
    expect("rpm --upgrade", not wrong, wrong)
    machine.run(*rpm, "--erase", "cc-archiver")
    wrong = [path for path in INSTALLED if (machine.root / path).exists()]
    wrong += [] if machine.run("cat", f"{CONFIG}.rpmsave").stdout == before else ["the configuration is not kept"]
    expect("rpm --erase", not wrong and machine.run("systemctl", "is-active", "cc-archiver.timer", check=False).returncode, wrong)


main()
