"""Prometheus' own evaluation of the alerts, over hours and days, on what Prometheus had of real runs: as tests for promtool."""

import json
import subprocess

STEP = 5  # minutes
NEVER = None
GONE = "stale"


def timeline(events, minutes, base):
    """Each series of the events as promtool wants it, from minute 0 to the end. Times are made relative to `base`."""
    slots = minutes // STEP + 1
    columns = {}
    for hours, place, sheet in sorted(events, key=lambda event: event[0]):
        slot = round(hours * 60 / STEP)
        for series in {*sheet, *(series for series, (of, _) in columns.items() if of == place)}:
            _, values = columns.setdefault(series, (place, [NEVER] * slots))
            before = values[slot - 1] if slot else NEVER
            if series in sheet:
                value = sheet[series] - (base if "timestamp_seconds" in series else 0)
                values[slot:] = [value] * (slots - slot)
            elif before not in (NEVER, GONE):
                values[slot:] = [GONE] + [NEVER] * (slots - slot - 1)
    return [{"series": series, "values": written(values)} for series, (_, values) in sorted(columns.items())]


def written(values):
    """Runs of equal values, as promtool abbreviates them."""
    parts, begin = [], 0
    for end in range(1, len(values) + 1):
        if end < len(values) and values[end] == values[begin]:
            continue
        count, value = end - begin, values[begin]
        if value is NEVER:
            parts.append(f"_x{count}")
        elif value == GONE:
            parts.append(GONE)
        else:
            parts.append(f"{value:.3f}x{count - 1}" if count > 1 else f"{value:.3f}")
        begin = end
    return " ".join(parts)


def test_of(site):
    last = max([hours for hours, _ in site.expected] + [event[0] for event in site.events])
    return {
        "name": site.name,
        "interval": f"{STEP}m",
        "input_series": timeline(site.events, round(last * 60) + STEP, site.base),
        "promql_expr_test": [
            {
                "expr": 'group by (alertname) (ALERTS{alertstate="firing"})',
                "eval_time": f"{round(hours * 60)}m",
                "exp_samples": [{"labels": f'{{alertname="{name}"}}', "value": 1} for name in names],
            }
            for hours, names in site.expected
        ],
    }


def check(promtool, rules, sites, work):
    """What promtool says against it, or nothing."""
    tests = {"rule_files": [str(rules)], "evaluation_interval": f"{STEP}m", "tests": [test_of(site) for site in sites]}
    # JSON is YAML
    (work / "tests.json").write_text(json.dumps(tests))
    done = subprocess.run([promtool, "test", "rules", work / "tests.json"], capture_output=True, text=True)
    return [] if done.returncode == 0 else [done.stdout + done.stderr]


def not_shown(names, sites):
    """Alerts that no scene makes fire, or that no scene sees end after that."""
    shown = set()
    for site in sites:
        for at, (_, fired) in enumerate(site.expected):
            later = [set(names) for _, names in site.expected[at + 1 :]]
            shown |= {name for name in fired if any(name not in names for names in later)}
    return [f"no scene makes {name} fire and end" for name in names if name not in shown]
