"""Holds deploy/iam to a server that enforces policies: policies.py BINARY MC ENDPOINT

Each policy must be enough for its commands, allow nothing else, and have no action that could be left out. The server is a MinIO with the root
user of tests/minio; bucket, users and policies have names of their own and are removed at the end. What MinIO does not ask for or has not
(tags, KMS, roles, lifecycle rules) is not seen here.
"""

import json
import os
import random
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
GOLDEN = REPO / "tests/fixtures/golden/checkpoints"
binary, mc, endpoint = sys.argv[1:]
bucket = f"policies-{secrets.token_hex(4)}"
archive = f"s3://{bucket}/archive"
ROOT = ("test", "test-secret")
# So that a part of 8 MiB is sent, and the next one waits until long after the signal comes.
SLOWLY = "--limit-rate=256KiB/s"

OK, INTERRUPTED = 0, 5
findings = []


def expect(what, condition, detail=""):
    print(f"{'ok' if condition else 'FOUND'}: {what}{'' if condition else f': {detail}'}", flush=True)
    if not condition:
        findings.append(what)


def client(user, *command):
    """MinIO's client as a user; its exit code and what it says."""
    scheme, host = endpoint.split("://")
    environment = {"PATH": os.environ["PATH"], "MC_CONFIG_DIR": str(scratch / "mc"), "NO_PROXY": "*", "MC_HOST_site": f"{scheme}://{user[0]}:{user[1]}@{host}"}
    done = subprocess.run([mc, "--quiet", "--no-color", *command], capture_output=True, text=True, env=environment)
    return done.returncode, done.stdout + done.stderr


def as_root(*command):
    code, said = client(ROOT, *command)
    if code:
        sys.exit(f"mc {' '.join(command)}: {said}")
    return said


def statements(file):
    """Those of a policy, each with a list of actions."""
    found = json.loads((REPO / "deploy/iam" / file).read_text())["Statement"]
    return [{**statement, "Action": [statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"]} for statement in found]


def actions_of(file):
    return [action for statement in statements(file) for action in statement["Action"]]


class User:
    """Somebody with a policy of deploy/iam and nothing else, less one action if that is asked for."""

    every = []

    def __init__(self, file, without=None):
        found = statements(file)
        for statement in found:
            statement["Action"] = [action for action in statement["Action"] if action != without]
        policy = {"Version": "2012-10-17", "Statement": [statement for statement in found if statement["Action"]]}
        self.name = f"{bucket}-{len(User.every)}"
        self.keys = (self.name, secrets.token_hex(16))
        User.every.append(self)
        path = scratch / f"{self.name}.json"
        path.write_text(json.dumps(policy).replace("arn:aws:s3:::monitoring", f"arn:aws:s3:::{bucket}"))
        as_root("admin", "policy", "create", "site", self.name, str(path))
        as_root("admin", "user", "add", "site", *self.keys)
        as_root("admin", "policy", "attach", "site", self.name, "--user", self.name)

    def command(self, command, *arguments):
        config = scratch / f"{self.name}-config.json"
        config.touch(mode=0o600)
        config.write_text(json.dumps({"endpoint": endpoint, "access-key": self.keys[0], "secret-key": self.keys[1], "progress": "never"}))
        environment = {"CC_ARCHIVER_CONFIG": str(config), "NO_PROXY": "*", "PATH": os.environ["PATH"]}
        return subprocess.Popen([binary, command, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)

    def runs(self, command, *arguments):
        process = self.command(command, *arguments)
        said = process.communicate(timeout=120)[0]
        return process.returncode, said

    def is_refused(self, *command):
        """Refused for want of a permission, and not by a mistake in the command."""
        code, said = client(self.keys, *command)
        return code != 0 and ("Insufficient permissions" in said or "Access Denied" in said)


def objects():
    return [line.split()[-1] for line in as_root("ls", "--recursive", f"site/{bucket}").splitlines()]


def empty():
    as_root("rm", "--recursive", "--force", f"site/{bucket}/archive/")
    as_root("rm", "--recursive", "--force", "--incomplete", f"site/{bucket}/archive/")


def open_uploads():
    return as_root("ls", "--incomplete", "--recursive", f"site/{bucket}").splitlines()


def snapshots(tree):
    return len([path for path in tree.rglob("*") if path.suffix in (".json", ".bin")])


def copy_of(tree):
    copy = scratch / f"tree-{secrets.token_hex(4)}"
    shutil.copytree(tree, copy)
    return copy


def large_tree():
    """One host whose object has two parts: 40 metrics of a day, a value a second, that do not compress."""
    numbers, begin, count = random.Random(1), 1_772_323_200, 86_400
    series = (f'"m{i}": {{"frequency": 1, "start": {begin}, "data": [{",".join(f"{numbers.random():.7f}" for _ in range(count))}]}}' for i in range(40))
    path = scratch / "large/alpha/n01" / f"{begin}.json"
    path.parent.mkdir(parents=True)
    path.write_text(f'{{"metrics": {{{",".join(series)}}}, "children": {{}}, "from": {begin}, "to": {begin + count}}}')
    return scratch / "large"


def interrupted(user, *command):
    """A run that a signal ends while an upload is under way: its exit code, and the uploads that it left."""
    # an earlier part can have left some
    before = set(open_uploads())
    process = user.command(*command, SLOWLY)
    deadline = time.monotonic() + 60
    while not set(open_uploads()) - before:
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            sys.exit(f"no upload was begun: {process.communicate()[0]}")
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    return process.returncode, sorted(set(open_uploads()) - before)


def deletes_nothing(file, user):
    there = objects()
    expect(f"{file}: no object can be deleted", user.is_refused("rm", f"site/{bucket}/{there[0]}") and objects() == there, objects())


def nothing_more(file, user):
    """Nobody with one of the policies comes to what is not the archive."""
    somewhere = scratch / "somewhere"
    somewhere.write_text("x")
    expect(f"{file}: nothing can be put beside the archive", user.is_refused("cp", str(somewhere), f"site/{bucket}/other/x"))
    as_root("cp", str(somewhere), f"site/{bucket}/other/x")
    expect(f"{file}: nothing beside the archive can be read or listed", user.is_refused("cat", f"site/{bucket}/other/x") and user.is_refused("ls", f"site/{bucket}/other/"))
    expect(f"{file}: nothing beside the archive can be deleted", user.is_refused("rm", f"site/{bucket}/other/x") and "other/x" in objects(), objects())
    as_root("rm", f"site/{bucket}/other/x")


def of_archive(large):
    file = "archive.json"
    user = User(file)
    expect(f"{file}: a run that is interrupted leaves nothing", interrupted(user, "archive", str(large), archive) == (INTERRUPTED, []), open_uploads())
    code, said = user.runs("archive", str(large), archive)
    expect(f"{file}: an upload of parts", code == OK, said)
    code, said = user.runs("archive", str(GOLDEN), archive)
    expect(f"{file}: small objects", code == OK, said)
    tree = copy_of(GOLDEN)
    code, said = user.runs("archive", str(tree), archive, "--prune-after=7d")
    expect(f"{file}: pruning in the same run", code == OK and snapshots(tree) < snapshots(GOLDEN), said)
    deletes_nothing(file, user)
    nothing_more(file, user)
    for action in actions_of(file):
        empty()
        lacking = User(file, without=action)
        if action == "s3:AbortMultipartUpload":
            left = interrupted(lacking, "archive", str(large), archive)[1]
            expect(f"{file}: without {action} an upload stays", left, left)
        else:
            code, said = lacking.runs("archive", str(GOLDEN), archive)
            expect(f"{file}: without {action} it fails", code != OK, said)


def prunes(user):
    tree = copy_of(GOLDEN)
    code, said = user.runs("prune", str(tree), archive, "--older-than=7d")
    return code if snapshots(tree) < snapshots(GOLDEN) else "nothing was pruned", said


def of_reader(file, what):
    """prune.json and read.json: `what` runs a command as a user, and tells how it ended."""
    user = User(file)
    code, said = what(user)
    expect(f"{file}: it is enough", code == OK, said)
    deletes_nothing(file, user)
    nothing_more(file, user)
    expect(f"{file}: nothing can be put into the archive", user.is_refused("cp", str(GOLDEN / "alpha/n04/1772323200.json"), f"site/{bucket}/archive/x"))
    for action in actions_of(file):
        code, said = what(User(file, without=action))
        expect(f"{file}: without {action} it fails", code != OK, said)


def of_compact(large):
    file = "compact.json"
    empty()
    archiver, reader = User("archive.json"), User("read.json")
    for command in [("archive", str(large), archive), ("archive", str(GOLDEN), archive), ("table", archive, "--init")]:
        code, said = archiver.runs(*command)
        expect(f"{file}: an archive to compact: {command[0]}", code == OK, said)
    copy = scratch / "to-compact"
    as_root("cp", "--recursive", f"site/{bucket}/archive/", str(copy))
    before = put_back(copy)
    code, said = archiver.runs("compact", archive)
    expect("archive.json: compact stops before it writes anything, and says why", code == 1 and "compact must be able to delete" in said and objects() == before, said)
    user = User(file)
    expect(f"{file}: a run that is interrupted leaves nothing", interrupted(user, "compact", archive) == (INTERRUPTED, []), open_uploads())
    put_back(copy)
    code, said = user.runs("compact", archive)
    rows = [key for key in objects() if key.endswith(".parquet") and "cluster=" in key]
    dates = {key.rpartition("/")[0] for key in rows}
    expect(f"{file}: one object of each date is left", code == OK and len(rows) == len(dates) < len([key for key in before if "cluster=" in key]), said)
    code, said = reader.runs("verify", archive, "--read-data", "--decode")
    expect(f"{file}: the archive is whole, and the table is up to date", code == OK, said)
    nothing_more(file, user)
    for action in actions_of(file):
        put_back(copy)
        lacking = User(file, without=action)
        if action == "s3:AbortMultipartUpload":
            left = interrupted(lacking, "compact", archive)[1]
            expect(f"{file}: without {action} an upload stays", left, left)
        else:
            code, said = lacking.runs("compact", archive)
            expect(f"{file}: without {action} it fails", code != OK, said)


def of_expire():
    file, keep = "expire.json", ("--keep", "1day")
    empty()
    archiver, reader = User("archive.json"), User("read.json")
    for command in [("archive", str(GOLDEN), archive), ("table", archive, "--init")]:
        code, said = archiver.runs(*command)
        expect(f"{file}: an archive with old dates: {command[0]}", code == OK, said)
    copy = scratch / "to-expire"
    as_root("cp", "--recursive", f"site/{bucket}/archive/", str(copy))
    before = objects()
    code, said = archiver.runs("expire", archive, *keep)
    expect("archive.json: expire stops before it writes anything, and says why", code == 1 and "expire must be able to delete" in said and objects() == before, said)
    user = User(file)
    code, said = user.runs("expire", archive, *keep)
    expect(f"{file}: all old dates are gone", code == OK and not [key for key in objects() if "cluster=" in key and key.endswith(".parquet")], said)
    code, said = reader.runs("ls", archive)
    expect(f"{file}: the floor is there", "kept from" in said, said)
    nothing_more(file, user)
    for action in actions_of(file):
        empty()
        as_root("cp", "--recursive", f"{copy}/", f"site/{bucket}/archive/")
        code, said = User(file, without=action).runs("expire", archive, *keep)
        expect(f"{file}: without {action} it fails", code != OK, said)


def put_back(copy):
    """Puts an archive there whose objects were written days ago: MinIO takes that from this header, with which it replicates. Gives the keys."""
    empty()
    written = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 3 * 86_400))
    as_root("cp", "--recursive", "--custom-header", f"X-Minio-Source-Mtime: {written}", f"{copy}/", f"site/{bucket}/archive/")
    return objects()


def main():
    as_root("mb", f"site/{bucket}")
    try:
        large = large_tree()
        of_archive(large)
        empty()
        code, said = User("archive.json").runs("archive", str(GOLDEN), archive)
        expect("an archive to prune by and to read", code == OK, said)
        of_reader("prune.json", prunes)
        of_reader("read.json", lambda user: user.runs("verify", archive, "--read-data", "--decode"))
        of_compact(large)
        of_expire()
    finally:
        as_root("rb", "--force", f"site/{bucket}")
        for user in User.every:
            client(ROOT, "admin", "user", "remove", "site", user.name)
            client(ROOT, "admin", "policy", "remove", "site", user.name)
    sys.exit(bool(findings))


with tempfile.TemporaryDirectory(prefix="cc-archiver-policies-") as folder:
    scratch = Path(folder)
    main()
