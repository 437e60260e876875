"""The way of metrics in real life: files to node_exporter, pushes to a Pushgateway, and a Prometheus that scrapes both."""

import json
import re
import socket
import subprocess
import time
import urllib.error
import urllib.request
from urllib.parse import urlencode

# How often Prometheus scrapes, and evaluates rules.
EVERY = "200ms"
PATIENCE = 30


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def fetch(url, method="GET"):
    with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=PATIENCE) as answer:
        return answer.read().decode()


def until(what, seconds=PATIENCE):
    """Waits for `what` to give something, and gives it."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if found := what():
                return found
        except (urllib.error.URLError, ConnectionError):
            pass
        time.sleep(0.05)
    raise SystemExit(f"nothing within {seconds} s: {what.__doc__ or what}")


class Server:
    """A program that answers on a port of this machine, until it is stopped."""

    def __init__(self, log, ready, program, *arguments, port):
        self.url = f"http://127.0.0.1:{port}"
        with open(log, "w") as said:
            self.process = subprocess.Popen([program, *arguments], stdout=said, stderr=said)

        def answers():
            if self.process.poll() is not None:
                raise SystemExit(f"{program} ended: {log.read_text()[-2000:]}")
            return fetch(self.url + ready)

        answers.__doc__ = f"an answer of {program}"
        until(answers)

    def stop(self):
        self.process.terminate()
        self.process.wait()


class Prometheus(Server):
    def __init__(self, tools, folder, scrapes, rules):
        folder.mkdir(exist_ok=True)
        often = {"scrape_interval": EVERY, "scrape_timeout": EVERY, "evaluation_interval": EVERY}
        settings = {"global": often, "scrape_configs": scrapes, "rule_files": rules}
        (folder / "prometheus.yml").write_text(json.dumps(settings))
        port = free_port()
        arguments = [f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data", "--storage.tsdb.retention.time=1y"]
        super().__init__(folder / "log", "/-/ready", tools / "prometheus", *arguments, f"--web.listen-address=127.0.0.1:{port}", port=port)

    def ask(self, path, **query):
        answer = json.loads(fetch(f"{self.url}/api/v1/{path}?{urlencode(query, doseq=True)}"))
        return answer["data"]

    def query(self, expression, **when):
        """Series: (labels, value)."""
        return [(found["metric"], found["value"][1]) for found in self.ask("query", query=expression, **when)["result"]]

    def series(self, expression, start, end, step):
        """Series over a time: (labels, [(time, value)])."""
        found = self.ask("query_range", query=expression, start=start, end=end, step=step)["result"]
        return [(series["metric"], [(at, float(value)) for at, value in series["values"]]) for series in found]

    def firing(self):
        """Names of alerts that fire, as Prometheus would tell an Alertmanager."""
        return sorted({alert["labels"]["alertname"] for alert in self.ask("alerts")["alerts"] if alert["state"] == "firing"})


class Chain:
    """Machines with a node_exporter each, one Pushgateway, and the Prometheus that looks at them."""

    def __init__(self, tools, work, rules, machines):
        self.folders, self.started, scrapes = {}, [], []
        try:
            for machine in machines:
                folder = self.folders[machine] = work / f"textfile-{machine}"
                folder.mkdir()
                port = free_port()
                arguments = ["--collector.disable-defaults", "--collector.textfile", f"--collector.textfile.directory={folder}"]
                arguments.append(f"--web.listen-address=127.0.0.1:{port}")
                self.start(Server(work / f"{machine}.log", "/metrics", tools / "prometheus-node-exporter", *arguments, port=port))
                scrapes.append({"targets": [f"127.0.0.1:{port}"], "labels": {"instance": machine}})
            port = free_port()
            arguments = [f"--web.listen-address=127.0.0.1:{port}"]
            self.gateway = self.start(Server(work / "pushgateway.log", "/-/ready", tools / "prometheus-pushgateway", *arguments, port=port))
            gateway = {"job_name": "pushgateway", "honor_labels": True, "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}
            self.prometheus = self.start(Prometheus(tools, work / "live", [{"job_name": "node", "static_configs": scrapes}, gateway], rules))
        except BaseException:
            self.stop()
            raise

    def start(self, server):
        self.started.append(server)
        return server

    def seen(self, run_id):
        """What Prometheus has of the machine or group whose last run this is: {series: value}, and its name (job, instance)."""

        def series():
            return self.prometheus.query(f'cc_archiver_run_info{{run_id="{run_id}"}}')

        series.__doc__ = f"metrics of the run {run_id}"
        labels = until(series)[0][0]
        return self.of(labels["job"], labels["instance"]), (labels["job"], labels["instance"])

    def of(self, job, instance):
        """All series of cc-archiver, by their text."""
        found = self.prometheus.query(f'{{__name__=~"cc_archiver_.+",job="{job}",instance="{instance}"}}')
        return {text_of(labels): float(value) for labels, value in found}

    def forget(self, machine):
        """Its files are gone, and Prometheus has seen that."""
        for path in self.folders[machine].glob("*.prom"):
            path.unlink()

        def gone():
            return not self.of("node", machine)

        until(gone)

    def empty_gateway(self):
        for group in json.loads(fetch(f"{self.gateway.url}/api/v1/metrics"))["data"]:
            labels = dict(group["labels"])
            path = "/".join([labels.pop("job"), *(part for pair in labels.items() for part in pair)])
            fetch(f"{self.gateway.url}/metrics/job/{path}", method="DELETE")

    def healthy(self):
        """Every target is up, and node_exporter could read each file."""
        down = self.prometheus.query("up == 0") + self.prometheus.query("node_textfile_scrape_error != 0")
        return [f"{labels}" for labels, _ in down]

    def stop(self):
        for server in reversed(self.started):
            server.stop()


def text_of(labels):
    pairs = ",".join(f'{name}="{value}"' for name, value in sorted(labels.items()) if name != "__name__")
    return f"{labels['__name__']}{{{pairs}}}"


def name_of(series):
    return re.match(r"\w+", series)[0]
