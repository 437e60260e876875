"""Checks the alerts and the dashboard against a real Prometheus that has scraped real runs: check.py BINARY TOOLS [SCENE…]."""

import json
import re
import sys
import tempfile
import time
from pathlib import Path

import alerts
import yaml
from chain import Chain
from scenes import SCENES
from place import Site
from store import Store

REPO = Path(__file__).resolve().parents[2]
RULES = REPO / "deploy/prometheus/alerts.yaml"
BOARD = REPO / "deploy/grafana/cc-archiver.json"
# Seconds between answers: less than between scrapes, as what a scene shows may last for one of them only.
STEP = 0.1
# Time of a scene before now: more than any of them takes.
PAST = 14 * 86_400


def without_series(prometheus, began):
    """Queries of the dashboard that nothing answers, over all that the scenes left."""
    board = json.loads(BOARD.read_text())
    wrong = []
    for panel in board["panels"]:
        for target in panel.get("targets", []):
            query = target["expr"].replace("$job", ".*").replace("$instance", ".*")
            if not prometheus.series(query, began, time.time(), STEP):
                wrong.append(f"{panel['title']}: nothing answers {query}")
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            series, label = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]["query"]).groups()
            if not prometheus.ask(f"label/{label}/values", **{"match[]": series.replace("$job", ".*"), "start": began}):
                wrong.append(f"the variable {variable['name']} has no values")
    return wrong


def played(binary, tools, work, wanted):
    """All scenes, and what went wrong in them."""
    store = Store()
    chain = Chain(tools, work, [str(RULES)], ["cc-backend", "second"])
    sites, wrong = [], []
    start = time.time()
    base = (int(time.time()) - PAST) // 3600 * 3600
    try:
        for play in SCENES:
            if wanted and play.__name__ not in wanted:
                continue
            for machine in chain.folders:
                chain.forget(machine)
            chain.empty_gateway()
            site = Site(binary, work, chain, store, base, play.__name__)
            began = time.monotonic()
            try:
                play(site)
            except SystemExit as ended:
                wrong.append(f"{site.name}: {ended}")
            store.heal()
            wrong += site.wrong + [f"{site.name}: {what} is not well" for what in chain.healthy()]
            sites.append(site)
            print(f"{time.monotonic() - began:6.1f} s  {site.name.replace('_', ' ')}", flush=True)
        if not wanted:
            wrong += without_series(chain.prometheus, start)
    finally:
        chain.stop()
        store.close()
    return sites, wrong


def main():
    binary, tools, wanted = sys.argv[1], Path(sys.argv[2]), sys.argv[3:]
    names = [rule["alert"] for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        sites, wrong = played(binary, tools, work, wanted)
        wrong += alerts.check(tools / "promtool", RULES, sites, work)
        if not wanted:
            wrong += alerts.not_shown(names, sites)
    for what in wrong:
        print(what, file=sys.stderr)
    if wrong:
        raise SystemExit(1)
    print(f"{len(sites)} scenes" if wanted else f"{len(names)} alerts fire and end as they must, in {len(sites)} scenes, and each query has an answer")


main()
