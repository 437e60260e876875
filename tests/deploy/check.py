"""Checks deploy/ and docs/deploy.md: check.py BINARY KUSTOMIZE [PART…]. Each part says what it found; the first finding does not stop the others."""

import json
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import kubernetes_validate
import yaml

REPO = Path(__file__).resolve().parents[2]
DEPLOY = REPO / "deploy"
DOCS = REPO / "docs/deploy.md"
KUBERNETES = ["1.29.0", "1.37.0"]
# systemd-analyze security counts from 0.0 to 10.0; the argument is ten times that.
EXPOSURE = 15
# Other versions of systemd weigh a little differently than the one that docs/deploy.md quotes.
TOLERANCE = 0.3
# What must be tried again, or be left as it is, by exit code: README.md.
NOT_AGAIN = [2, 3, 4]

binary, kustomize = sys.argv[1:3]
findings = []


def finding(where, what):
    findings.append(f"{where}: {what}")


def expect(where, what, condition):
    if not condition:
        finding(where, what)


def output(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, **options)
    return done.returncode, done.stdout, done.stderr


def at(value, *path):
    """What stands at a path of keys and indexes, or None."""
    for key in path:
        try:
            value = value[key]
        except (KeyError, IndexError, TypeError):
            return None
    return value


# --- Kubernetes


def manifests():
    layers = [DEPLOY / "kubernetes/base", *sorted(path for path in (DEPLOY / "kubernetes/overlays").iterdir() if path.is_dir())]
    if len(layers) < 5:
        finding("deploy/kubernetes", "overlays are missing")
    used = set()
    for layer in layers:
        name = layer.name
        code, text, error = output(kustomize, "build", str(layer))
        if code:
            finding(name, f"kustomize: {error.strip()}")
            continue
        if "deprecated" in error:
            finding(name, error.strip())
        resources = list(yaml.safe_load_all(text))
        valid(name, resources)
        cron_jobs(name, resources)
        configuration(name, resources)
        network(name, resources)
        used |= {Path(part).name for part in yaml.safe_load((layer / "kustomization.yaml").read_text()).get("components", [])}
    documented()
    for component in (DEPLOY / "kubernetes/components").iterdir():
        expect(component.name, "no overlay builds this component", component.name in used)
    return f"{len(layers)} layers, each for Kubernetes {' and '.join(KUBERNETES)}"


def valid(name, resources):
    for resource in resources:
        for version in KUBERNETES:
            try:
                kubernetes_validate.validate(resource, version, strict=True)
            except Exception as e:
                finding(f"{name}, {resource.get('kind')}", f"not valid for Kubernetes {version}: {e}")
    expect(name, "no value is missing", not has_null(resources))


def documented():
    """The patches in the docs do something, on the overlay for AWS, which has all that they are for."""
    blocks = re.findall(r"^```yaml\n(patches:.*?)^```", DOCS.read_text() if DOCS.is_file() else "", re.M | re.S)
    expect("docs/deploy.md", "it has patches", len(blocks) >= 3)
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch, "kubernetes")
        shutil.copytree(DEPLOY / "kubernetes", copy)
        plain = output(kustomize, "build", str(copy / "overlays/aws"))[1]
        for block in blocks:
            site = copy / "overlays/documented"
            site.mkdir(exist_ok=True)
            (site / "kustomization.yaml").write_text("resources: [../aws]\n" + block)
            code, text, error = output(kustomize, "build", str(site))
            where = f"docs/deploy.md, {block.splitlines()[1].strip()}"
            expect(where, f"the patch does not fit, or changes nothing: {error.strip()}", code == 0 and text != plain)
            resources = list(yaml.safe_load_all(text))
            valid(where, resources)
            cron_jobs(where, resources)
            trees = [r for r in resources if r["kind"] == "CronJob" and r["metadata"]["name"] not in DELETING]
            expect(where, "it changes every CronJob that takes the tree, or none", len({"your-claim" in json.dumps(r) for r in trees}) == 1)
            expect(where, "it replaces, and adds nothing beside", all(len(at(r, "metadata", "annotations") or "1") == 1 for r in resources))


def has_null(value):
    """Schemas take null for all that may be left out: what a patch has lost, or a key without its value."""
    if isinstance(value, (dict, list)):
        return any(map(has_null, value.values() if isinstance(value, dict) else value))
    return value is None


# CronJobs whose keys may delete objects: each has a service account of its own, and no tree.
DELETING = {"cc-archiver-compact", "cc-archiver-expire"}


def cron_jobs(name, resources):
    crons = {r["metadata"]["name"]: r["spec"] for r in resources if r["kind"] == "CronJob"}
    accounts = {r["metadata"]["name"]: r for r in resources if r["kind"] == "ServiceAccount"}
    wanted = {"cc-archiver"} | (set() if name == "base" else {"cc-archiver-verify"}) | (DELETING & set(crons))
    if set(crons) != wanted or set(accounts) != {"cc-archiver"} | (DELETING & set(crons)):
        return finding(name, f"there must be the CronJobs {sorted(wanted)}, and a ServiceAccount for those that delete, and there are {sorted(crons)} and {sorted(accounts)}")
    for job, spec in crons.items():
        where = name if job == "cc-archiver" else f"{name}, {job}"
        cron_job(name, where, spec, accounts[job if job in DELETING else "cc-archiver"])
        {"cc-archiver": archives, "cc-archiver-verify": verifies, "cc-archiver-compact": compacts, "cc-archiver-expire": expires}[job](name, where, spec)
    of_others = {way for job, spec in crons.items() if job not in DELETING for way in ways_in(spec, accounts)}
    for job in DELETING & set(crons):
        expect(f"{name}, {job}", "it has keys or a role of its own", name == "base" or not of_others & ways_in(crons[job], accounts))


def ways_in(cron, accounts):
    """The secrets and roles that a CronJob has its rights by."""
    pod = at(cron, "jobTemplate", "spec", "template", "spec") or {}
    secrets = {at(entry, "valueFrom", "secretKeyRef", "name") for entry in at(pod, "containers", 0, "env") or []}
    role = at(accounts, pod.get("serviceAccountName"), "metadata", "annotations", "eks.amazonaws.com/role-arn")
    return (secrets | {role}) - {None}


def cron_job(name, where, cron, account):
    """What holds for every one of them."""
    job = at(cron, "jobTemplate", "spec") or {}
    pod = at(job, "template", "spec") or {}
    container = at(pod, "containers", 0) or {}

    def must(what, condition):
        expect(where, what, condition)

    must("one run at a time: concurrencyPolicy Forbid", cron.get("concurrencyPolicy") == "Forbid")
    must("a time zone", cron.get("timeZone"))
    must("a late run still begins: startingDeadlineSeconds", cron.get("startingDeadlineSeconds", 0) >= 600)
    must("restartPolicy Never, without which there is no podFailurePolicy", pod.get("restartPolicy") == "Never")
    must("more time to end than the program's 5 s", pod.get("terminationGracePeriodSeconds", 0) > 10)

    rules = at(job, "podFailurePolicy", "rules") or []
    must("the first rule passes over disruptions", at(rules, 0, "action") == "Ignore" and at(rules, 0, "onPodConditions", 0, "type") == "DisruptionTarget")
    must("exit codes are not tried again", at(rules, 1, "onExitCodes", "operator") == "In")
    must("the rule is for the container that there is", at(rules, 1, "onExitCodes", "containerName") == container.get("name"))

    must("no token of the API server", account.get("automountServiceAccountToken") is False and pod.get("automountServiceAccountToken") is False)
    must("the pod has the service account", pod.get("serviceAccountName") == at(account, "metadata", "name"))
    must("no user but its own", at(pod, "securityContext", "runAsNonRoot") is True and (at(pod, "securityContext", "runAsUser") or 0) > 0)
    must("no fsGroup: cc-backend's files stay as they are", at(pod, "securityContext", "fsGroup") is None)
    must("seccomp", at(pod, "securityContext", "seccompProfile", "type") == "RuntimeDefault")
    must("nothing of the host", not any(pod.get(key) for key in ["hostNetwork", "hostPID", "hostIPC"]))
    inner = container.get("securityContext", {})
    must("no capability", at(inner, "capabilities", "drop") == ["ALL"] and not at(inner, "capabilities", "add"))
    must("a root directory that is read-only", inner.get("readOnlyRootFilesystem") is True)
    must("no way to more rights", inner.get("allowPrivilegeEscalation") is False and not inner.get("privileged"))
    must("the program alone", len(pod.get("containers", [])) == 1 and not pod.get("initContainers"))
    for kind in ["requests", "limits"]:
        must(f"{kind} of CPU and memory", set(at(container, "resources", kind) or {}) >= {"cpu", "memory"})

    mounts = {mount["name"]: mount for mount in container.get("volumeMounts", [])}
    must("every mount has its volume", set(mounts) == {volume["name"] for volume in pod.get("volumes", [])})
    must("nothing else but locks and temporary files is writable", all(mount.get("readOnly") for key, mount in mounts.items() if key not in ["checkpoints", "locks", "tmp"]))
    keys = [entry for entry in container.get("env", []) if re.search("KEY|SECRET|TOKEN", entry["name"])]
    must("keys come from a secret", all(at(entry, "valueFrom", "secretKeyRef") for entry in keys))
    must("keys, or a role", name == "base" or bool(keys) != bool(at(account, "metadata", "annotations", "eks.amazonaws.com/role-arn")))
    must("the image has a tag", name == "base" or re.search(r":\d+\.\d+\.\d+$", container.get("image", "")))


def archives(name, where, cron):
    job = cron["jobTemplate"]["spec"]
    container = job["template"]["spec"]["containers"][0]
    mounts = {mount["name"]: mount for mount in container.get("volumeMounts", [])}
    arguments = container.get("args", [])
    sharded = job.get("completionMode") == "Indexed"
    rule = at(job, "podFailurePolicy", "rules", 1)

    def must(what, condition):
        expect(where, what, condition)

    must("it archives", at(arguments, 0) == "archive")
    folder = next((entry.get("value") for entry in container.get("env", []) if entry["name"] == "TMPDIR"), None)
    must("values that memory has no room for have a folder", folder and folder == at(mounts, "tmp", "mountPath") and not at(mounts, "tmp", "readOnly"))
    volume = next((volume for volume in job["template"]["spec"].get("volumes", []) if volume["name"] == "tmp"), {})
    must("that folder is the pod's own, and has a limit", at(volume, "emptyDir", "sizeLimit"))
    must("every six hours", re.fullmatch(r"\d+ \*/6 \* \* \*", cron.get("schedule", "")))
    must("a run ends before the next, 6 h later: activeDeadlineSeconds", 0 < job.get("activeDeadlineSeconds", 0) < 6 * 3600)
    must("exit codes 2 to 4 are not tried again", at(rule, "onExitCodes", "values") == NOT_AGAIN)
    must("one shard's exit code does not end the others", at(rule, "action") == ("FailIndex" if sharded else "FailJob"))
    must("other failures are tried again", (job.get("backoffLimitPerIndex", 0) if sharded else job.get("backoffLimit", 0)) > 0)
    prunes = any(argument.startswith("--prune-after") for argument in arguments)
    hold = next((argument.partition("=")[2] for argument in arguments if argument.startswith("--wal-hold=")), None)
    must("the tree is read-only unless it is pruned or logs are held beside it", at(mounts, "checkpoints", "readOnly") is (not prunes and not hold))
    must("logs are held in the volume of the tree", not hold or Path(at(mounts, "checkpoints", "mountPath")) in Path(hold).parents)
    must("what holds logs is called so", bool(hold) == (name == "wal"))
    must("what prunes is called so", prunes == (name == "prune"))
    must("shards are an Indexed Job", sharded == (name == "sharded"))
    if sharded:
        count = job.get("completions")
        must("all shards at the same time", count == job.get("parallelism") and count > 1)
        must("as many shards as completions", f"--shards={count}" in arguments)
        must("a lock that they share", any(argument.startswith(f"--lock-file={at(mounts, 'locks', 'mountPath')}/") for argument in arguments))
        must("no limit for all shards together", "backoffLimit" not in job)


def verifies(name, where, cron):
    job = cron["jobTemplate"]["spec"]
    container = job["template"]["spec"]["containers"][0]
    arguments = container.get("args", [])

    def must(what, condition):
        expect(where, what, condition)

    must("it verifies", at(arguments, 0) == "verify" and any(argument.startswith("--read-data=") for argument in arguments))
    must("every week", re.fullmatch(r"\d+ \d+ \* \* [0-6]", cron.get("schedule", "")))
    must("a run ends before the next, a week later: activeDeadlineSeconds", 0 < job.get("activeDeadlineSeconds", 0) < 7 * 86_400)
    # it takes no lock, so it never ends with 4
    must("exit codes 2 and 3 are not tried again", at(job, "podFailurePolicy", "rules", 1, "onExitCodes", "values") == [2, 3])
    must("other failures are tried again", at(job, "podFailurePolicy", "rules", 1, "action") == "FailJob" and job.get("backoffLimit", 0) > 0)
    must("it writes nowhere", all(mount.get("readOnly") for mount in container.get("volumeMounts", [])))


def deletes_weekly(where, cron, command):
    job = cron["jobTemplate"]["spec"]
    container = job["template"]["spec"]["containers"][0]

    def must(what, condition):
        expect(where, what, condition)

    must(f"it runs {command}", at(container, "args", 0) == command)
    must("every week", re.fullmatch(r"\d+ \d+ \* \* [0-6]", cron.get("schedule", "")))
    must("a run ends before the next, a week later: activeDeadlineSeconds", 0 < job.get("activeDeadlineSeconds", 0) < 7 * 86_400)
    # it takes no lock, so it never ends with 4
    must("exit codes 2 and 3 are not tried again", at(job, "podFailurePolicy", "rules", 1, "onExitCodes", "values") == [2, 3])
    must("other failures are tried again", at(job, "podFailurePolicy", "rules", 1, "action") == "FailJob" and job.get("backoffLimit", 0) > 0)
    return container, must


def compacts(name, where, cron):
    container, must = deletes_weekly(where, cron, "compact")
    mounts = {mount["name"]: mount for mount in container.get("volumeMounts", [])}
    folder = next((entry.get("value") for entry in container.get("env", []) if entry["name"] == "TMPDIR"), None)
    must("values that memory has no room for have a folder", folder and folder == at(mounts, "tmp", "mountPath") and not at(mounts, "tmp", "readOnly"))
    must("it has nothing to do with the tree", "checkpoints" not in mounts)


def expires(name, where, cron):
    container, must = deletes_weekly(where, cron, "expire")
    must("it says how long dates are kept, and long enough for a slip to be seen", any(re.fullmatch(r"--keep=\d{3,}days", arg) for arg in container.get("args", [])))
    must("it writes nowhere", all(mount.get("readOnly") for mount in container.get("volumeMounts", [])))


def network(name, resources):
    """The network policy is for these pods, and lets them come to where the configuration sends them."""
    found = [r["spec"] for r in resources if r["kind"] == "NetworkPolicy"]
    if name == "base":
        return expect(name, "it has no network policy: an overlay knows the archive", not found)
    if len(found) != 1:
        return finding(name, "there must be one NetworkPolicy")
    chosen = at(found, 0, "podSelector", "matchLabels") or {}
    expect(name, "the network policy is for something", chosen)
    for job in [r for r in resources if r["kind"] == "CronJob"]:
        labels = at(job, "spec", "jobTemplate", "spec", "template", "metadata", "labels") or {}
        expect(name, f"the network policy is for the pods of {job['metadata']['name']}", chosen.items() <= labels.items())
    expect(name, "nobody talks to the pods", "Ingress" in found[0]["policyTypes"] and not found[0].get("ingress"))
    open_ports = {(port["protocol"], port["port"]) for rule in found[0].get("egress", []) if not rule.get("to") for port in rule.get("ports", [])}
    expect(name, "not every port is open", "Egress" in found[0]["policyTypes"] and all(rule.get("ports") for rule in found[0].get("egress", [])))
    expect(name, "names can be looked up", {("UDP", 53), ("TCP", 53)} <= open_ports)
    settings = json.loads(next(r for r in resources if r["kind"] == "ConfigMap")["data"]["config.json"])
    expect(name, "each command has a group of its own in the Pushgateway: it is not named for all", "metrics-push" not in settings)
    for key in {"endpoint"} & set(settings):
        url = urlsplit(settings[key])
        port = url.port or {"http": 80, "https": 443}[url.scheme]
        expect(name, f"the network policy lets the pods come to {key}, port {port}", ("TCP", port) in open_ports)
    expect(name, "the network policy lets the pods come to S3", "endpoint" in settings or ("TCP", 443) in open_ports)


def configuration(name, resources):
    """The configuration is the one that kustomize made, and says what the manifests say."""
    maps = [r for r in resources if r["kind"] == "ConfigMap"]
    try:
        settings = json.loads(maps[0]["data"]["config.json"])
    except (IndexError, KeyError, ValueError) as e:
        return finding(name, f"config.json: {e}")
    config_keys(f"{name}, config.json", settings)
    for job in [r for r in resources if r["kind"] == "CronJob"]:
        pod = at(job, "spec", "jobTemplate", "spec", "template", "spec") or {}
        mounted(f"{name}, {job['metadata']['name']}", pod, maps, settings, job["metadata"]["name"] not in DELETING)


def mounted(name, pod, maps, settings, takes_tree):
    named = {at(volume, "configMap", "name") for volume in pod.get("volumes", [])}
    if len(maps) != 1 or at(maps, 0, "metadata", "name") not in named:
        return finding(name, "the generated ConfigMap is not mounted")
    mounts = {mount["mountPath"]: mount["name"] for mount in at(pod, "containers", 0, "volumeMounts") or []}
    tree = Path(settings.get("checkpoints", ""))
    has_tree = any(mounts.get(str(path)) == "checkpoints" for path in [tree, *tree.parents])
    expect(name, "the configuration's tree is where the volume is", not takes_tree or has_tree)
    expect(name, "the configuration is where --config says", "--config=/etc/cc-archiver/config.json" in (at(pod, "containers", 0, "args") or []) and "/etc/cc-archiver" in mounts)
    if "ca-file" in settings:
        expect(name, "ca-file lies in a mounted folder", str(Path(settings["ca-file"]).parent) in mounts)
    expect(name, "no keys in a ConfigMap", not {"access-key", "secret-key"} & set(settings))


# --- JSON


def json_files():
    files = sorted(DEPLOY.rglob("*.json"))
    for file in files:
        try:
            value = json.loads(file.read_text())
        except ValueError as e:
            finding(file.relative_to(REPO), f"it is not JSON: {e}")
            continue
        if file.parent.name == "iam":
            policy(file, value)
    expect("deploy/iam", "policies are missing", len(list((DEPLOY / "iam").glob("*.json"))) >= 9)
    return f"{len(files)} files"


# All that the program asks of S3 and KMS.
ACTIONS = {
    "archive.json": {"s3:ListBucket", "s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload"},
    "archive-tags.json": {"s3:PutObjectTagging", "s3:GetObjectTagging"},
    "archive-kms.json": {"kms:GenerateDataKey", "kms:Decrypt"},
    "expire.json": {"s3:ListBucket", "s3:GetObject", "s3:PutObject", "s3:DeleteObject"},
    "compact.json": {"s3:ListBucket", "s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload", "s3:DeleteObject"},
    "prune.json": {"s3:ListBucket", "s3:GetObject"},
    "read.json": {"s3:ListBucket", "s3:GetObject"},
    "read-kms.json": {"kms:Decrypt"},
}


def policy(file, value):
    if file.name in ACTIONS:
        allowed, statements = set(), value.get("Statement", [])
        for statement in statements:
            actions, resource = statement["Action"], statement["Resource"]
            actions = actions if isinstance(actions, list) else [actions]
            allowed |= set(actions)
            expect(file.name, "it only allows", statement.get("Effect") == "Allow")
            bucket = "s3:ListBucket" in actions
            where = "arn:aws:s3:::monitoring" if bucket else "arn:aws:kms:" if "kms" in file.name else "arn:aws:s3:::monitoring/archive/*"
            # expire writes marks and the table only
            narrower = {f"arn:aws:s3:::monitoring/archive/{folder}/*" for folder in ["_cc-archiver", "_delta_log"]}
            is_narrower = isinstance(resource, list) and file.name == "expire.json" and set(resource) == narrower
            is_there = resource == where or where.endswith(":kms:") and resource.startswith(where)
            expect(file.name, f"{actions}: {where} and nothing more", is_there or is_narrower)
            expect(file.name, "it writes marks and the table only", file.name != "expire.json" or "s3:PutObject" not in actions or is_narrower)
            if bucket:
                expect(file.name, "it lists below the archive only", at(statement, "Condition", "StringLike", "s3:prefix") == "archive/*")
        expect(file.name, f"it allows {sorted(allowed)}", allowed == ACTIONS[file.name])
    elif file.name == "lifecycle.json":
        days = [at(rule, "AbortIncompleteMultipartUpload", "DaysAfterInitiation") for rule in value["Rules"] if rule["Status"] == "Enabled"]
        expect(file.name, "it aborts uploads that nobody completes, after two days", days == [2])
        expect(file.name, "it deletes nothing", not any("Expiration" in rule for rule in value["Rules"]))
    elif file.name == "bucket-policy.json":
        statement = value["Statement"][0]
        denies = (statement["Effect"], at(statement, "Condition", "Bool", "aws:SecureTransport"), statement["Action"])
        expect(file.name, "it denies all without TLS", denies == ("Deny", "false", "s3:*"))


# --- Names


FLAG = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*")
VARIABLE = re.compile(r"CC_ARCHIVER_[A-Z0-9_]*[A-Z0-9]")


@cache
def manual():
    """The manual page of each command: they have the variables."""
    with tempfile.TemporaryDirectory() as folder:
        code, _, error = output(binary, "man", folder)
        expect("manual", f"the program writes its manual pages: {error.strip()}", code == 0)
        return {page.stem.removeprefix("cc-archiver-"): page.read_text() for page in Path(folder).iterdir()}


@cache
def help_of(command):
    """The options and the variables of a command."""
    code, text, error = output(binary, command, "--help")
    if code:
        finding("help", f"{binary} {command} --help: {error.strip()}")
    return set(FLAG.findall(text)), set(VARIABLE.findall(manual().get(command, "")))


@cache
def commands():
    code, text, error = output(binary, "--help")
    found = re.findall(r"^  ([a-z]+)  ", text.partition("Commands:")[2].partition("Options:")[0], re.M)
    expect("help", f"the program shows its commands: {error.strip()}", code == 0 and {"archive", "prune", "verify"} <= set(found))
    return [command for command in found if command != "help"]


def all_names():
    flags, variables = set(), set()
    for command in commands():
        of_command = help_of(command)
        flags |= of_command[0]
        variables |= of_command[1]
    return flags, variables


@cache
def schema_keys():
    path = DEPLOY / "config.schema.json"
    if not path.is_file():
        finding("deploy/config.schema.json", "it is missing, so no key can be checked")
        return set()
    return set(json.loads(path.read_text())["properties"])


def config_keys(where, settings):
    known = schema_keys()
    for key in settings if known else []:
        expect(where, f"there is no setting {key!r}", key in known or key.startswith("//"))


def names():
    flags, variables = all_names()
    suffixes = {".yaml", ".service", ".timer", ".conf", ".json"}
    files = [path for path in DEPLOY.rglob("*") if path.is_file() and (path.suffix in suffixes or path.name == "Dockerfile")]
    files += [DOCS] if DOCS.is_file() else finding("docs/deploy.md", "it is missing") or []
    count = 0
    for file in sorted(files):
        where, text = file.relative_to(REPO), file.read_text()
        for variable in sorted(set(VARIABLE.findall(text))):
            count += 1
            expect(where, f"the program has no variable {variable}", variable in variables)
        # in docs and in the Dockerfile there are flags of other programs too: see below
        for flag in sorted(set(FLAG.findall(text))) if file.suffix in suffixes else []:
            count += 1
            expect(where, f"the program has no option {flag}", flag in flags)
        count += command_lines(where, text)
        if file.suffix == ".md":
            count += in_docs(where, text, flags)
    for file in DEPLOY.rglob("config*.json"):
        if file.name != "config.schema.json":
            config_keys(file.relative_to(REPO), json.loads(file.read_text()))
    expect("names", "nothing was looked at", count > 20)
    return f"{count} names in {len(files)} files"


def command_lines(where, text):
    """Options behind a command of the program must be that command's own, and what stands where a command does must be one."""
    count = 0
    lines = text.replace("\\\n", " ")
    for word in re.findall(r"^(?: {4}|ExecStart=)\s*(?:sudo |[A-Z_]+=\S+ )*cc-archiver ([^\s-]\S*)", lines, re.M):
        count += 1
        expect(where, f"cc-archiver has no command {word}", word in commands())
    for rest in re.findall(r"(?:^|[\s/(`=])cc-archiver (?!cc-archiver )(.+)$", lines, re.M):
        rest = re.split(r"[`|;#]|&&", rest)[0]
        command = next((word for word in rest.split() if not word.startswith("-")), None)
        for flag in FLAG.findall(rest) if command in commands() else []:
            count += 1
            expect(where, f"cc-archiver {command} has no option {flag}", flag in help_of(command)[0])
    return count


def in_docs(where, text, flags):
    """Options in running text, the keys of JSON examples, and the files that are named."""
    count = 0
    for flag in re.findall(r"`(--[a-z][a-z0-9-]*)[^`]*`", text):
        count += 1
        expect(where, f"the program has no option {flag}", flag in flags)
    for block in re.findall(r"^```json\n(.*?)^```", text, re.M | re.S):
        count += 1
        try:
            config_keys(where, json.loads(block))
        except ValueError as e:
            finding(where, f"an example is not JSON: {e}")
    for path in re.findall(r"(?<![\w/.-])(deploy/[\w./-]*\w)", text):
        count += 1
        # a site's own
        expect(where, f"there is no {path}", (REPO / path).exists() or path == "deploy/kubernetes/overlays/site")
    for path in re.findall(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)", text):
        count += 1
        expect(where, f"there is no {path}", (DOCS.parent / path).exists())
    return count


# --- systemd


def systemd():
    if not shutil.which("systemd-analyze"):
        finding("systemd", "systemd-analyze is missing: install systemd 250 or newer (Debian: apt-get install systemd)")
        return "nothing"
    folder = DEPLOY / "systemd"
    units = sorted([*folder.glob("*.service"), *folder.glob("*.timer")])
    examples = sorted((folder / "examples").glob("*.conf"))
    expect("systemd", "units are missing", len(units) == 8 and len(examples) >= 3)
    with_path(folder, units, examples)
    with tempfile.TemporaryDirectory() as root:
        Path(root, "etc").mkdir()
        code, text, error = output("systemd-sysusers", f"--root={root}", str(folder / "cc-archiver.sysusers.conf"))
        users = Path(root, "etc/passwd")
        made = code == 0 and users.is_file() and users.read_text().startswith("cc-archiver:")
        expect("cc-archiver.sysusers.conf", f"it does not make the user: {error.strip()}", made)
    said = []
    for unit in folder.glob("*.service"):
        code, text, error = output("systemd-analyze", "security", "--offline=true", f"--threshold={EXPOSURE}", str(unit))
        level = re.search(r"exposure level for \S+ (\d+\.\d)", text)
        if code or not level:
            finding(unit.name, f"its exposure is above {EXPOSURE / 10}: {(text or error).strip().splitlines()[-1:]}")
        else:
            said.append(f"{unit.name} {level[1]}")
            if DOCS.is_file():
                quoted = re.search(rf"{unit.name}: (\d+\.\d) OK", DOCS.read_text())
                near = quoted and abs(float(quoted[1]) - float(level[1])) <= TOLERANCE
                expect("docs/deploy.md", f"the exposure of {unit.name} is {level[1]}, not {quoted and quoted[1]}", near)
        in_unit(unit)
    return f"{len(units)} units, {len(examples)} drop-ins; exposure: {', '.join(sorted(said))}"


def with_path(folder, units, examples):
    """systemd-analyze verify, over the units alone and with each drop-in, with a program where they have it."""
    for example in [None, *examples]:
        with tempfile.TemporaryDirectory() as scratch:
            scratch = Path(scratch)
            for unit in units:
                # the program and its manuals are not on this machine
                (scratch / unit.name).write_text(unit.read_text().replace("ExecStart=cc-archiver", "ExecStart=/bin/true"))
            if example:
                (scratch / "cc-archiver.service.d").mkdir()
                shutil.copy(example, scratch / "cc-archiver.service.d" / example.name)
            for unit in units:
                environment = {"PATH": "/usr/bin:/bin", "SYSTEMD_LOG_LEVEL": "info"}
                code, text, error = output("systemd-analyze", "verify", "--man=no", "--recursive-errors=no", str(scratch / unit.name), env=environment)
                said = [line for line in (text + error).splitlines() if unit.stem in line or ".conf" in line]
                for line in said or ([(text + error).strip()] if code else []):
                    finding(f"{unit.name}{f' with {example.name}' if example else ''}", line.replace(str(scratch), ""))


def in_unit(unit):
    text = unit.read_text()

    def must(what, condition):
        expect(unit.name, what, condition)

    def value(key):
        return re.findall(rf"^{key}=(.*)$", text, re.M)

    must("more time to end than the program's 5 s", value("TimeoutStopSec") == ["30s"])
    must("it is not root", value("User") == ["cc-archiver"])
    must("stopping it is no failure", value("SuccessExitStatus") == ["5"])
    # what may delete objects has keys of its own
    deletes = unit.stem in DELETING
    file = unit.stem.removeprefix("cc-archiver-") if deletes else "config"
    environment = f"{file}.environment" if deletes else "environment"
    must("no keys of others come as variables", value("EnvironmentFile") == [f"-/etc/cc-archiver/{environment}"])
    must("its configuration is a credential", value("LoadCredential") == [f"config.json:/etc/cc-archiver/{file}.json"] and "CC_ARCHIVER_CONFIG=%d/config.json" in value("Environment"))
    if value("Restart"):
        must("exit codes 2 to 4 are not tried again", value("RestartPreventExitStatus") == [" ".join(map(str, NOT_AGAIN))])
    if "archive\n" in "".join(f"{line}\n" for line in value("ExecStart")):
        must("the tree is read-only", value("ProtectSystem") == ["strict"] and not value("ReadWritePaths"))
        must("it ends before the next run, 6 h later", value("TimeoutStartSec") == ["5h"] and "00/6:" in unit.with_suffix(".timer").read_text())


# --- the container

DEBIAN = {"bookworm": "12", "trixie": "13"}


def versions(package):
    """What is built in the image, and what it is put upon, agree with each other and with Cargo.toml."""
    where, text = "deploy/Dockerfile", (DEPLOY / "Dockerfile").read_text()
    build = re.search(r"^FROM rust:([\d.]+)-slim-(\w+) AS build$", text, re.M)
    base = re.search(r"^FROM gcr\.io/distroless/cc-debian(\d+):nonroot$", text, re.M)
    if not build or not base:
        return finding(where, "it builds from rust:VERSION-slim-RELEASE, on gcr.io/distroless/cc-debianN:nonroot")
    expect(where, f"Rust {build[1]} is not rust-version of Cargo.toml, {package['rust-version']}", build[1] == package["rust-version"])
    expect(where, f"{build[2]} has another glibc than Debian {base[1]}", DEBIAN.get(build[2]) == base[1])


def container():
    package = tomllib.loads((REPO / "Cargo.toml").read_text())["package"]
    version = package["version"]
    versions(package)
    for file in [DEPLOY / "Dockerfile", *(DEPLOY / "kubernetes/overlays").glob("*/kustomization.yaml")]:
        for found in re.findall(r"(?:image\.version=\"|newTag: |-t cc-archiver:)([\d.]+\d)", file.read_text()):
            expect(file.relative_to(REPO), f"the version is {version}, not {found}", found == version)
    done = subprocess.run([sys.executable, "-I", str(REPO / "tests/deploy/container"), binary, version])
    expect("container", "the program does not run in what its container holds", done.returncode == 0)
    return "see above"


PARTS = {"manifests": manifests, "json": json_files, "names": names, "systemd": systemd, "container": container}


def main():
    wanted = sys.argv[3:] or list(PARTS)
    if unknown := set(wanted) - set(PARTS):
        sys.exit(f"there are no such parts: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    for part in wanted:
        before = len(findings)
        looked_at = PARTS[part]()
        sys.stdout.flush()
        if len(findings) == before:
            print(f"ok: {part}: {looked_at}", flush=True)
    for line in findings:
        print(f"FOUND {line}", file=sys.stderr)
    sys.exit(bool(findings))


main()
