"""Checks that queries name what kubemint really exposes; needs PyYAML.

    queries.py DASHBOARD RULE RULES-OUT METRICS...

METRICS are files in Prometheus' text format, as kubemint wrote them. All queries go into RULES-OUT as rules, so that
promtool judges their syntax.
"""

import json
import re
import sys
from pathlib import Path

import yaml

# Words of PromQL that are neither metrics nor functions.
WORDS = {"and", "or", "unless", "bool", "offset", "inf", "nan", "start", "end"}
GROUPING = r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)"
# Labels that Prometheus and its operator add when they scrape, and that of a histogram's buckets.
SCRAPED = {"job", "instance", "namespace", "pod", "container", "le"}
SUFFIXES = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"], "gauge": [""], "unknown": [""]}


def fail(message):
    sys.exit(f"error: deployment: {message}")


def exposed(paths):
    """Returns the labels of each series that kubemint exposes, by name."""
    series = {}
    for path in paths:
        for line in Path(path).read_text().splitlines():
            if match := re.match(r"# TYPE (\S+) (\S+)", line):
                for suffix in SUFFIXES[match[2]]:
                    series.setdefault(match[1] + suffix, set())
            elif match := re.match(r"([a-z_]+)(?:\{(.*)\})? \S+$", line):
                if match[1] not in series:
                    fail(f"{path}: {match[1]} has no type")
                series[match[1]] |= set(re.findall(r'(\w+)="', match[2] or ""))
    if len(series) < 10:
        fail(f"only {len(series)} series are exposed: {sorted(series)}")
    return series


def named(query):
    """Returns the metrics that a query names with the labels that stand at them, and the labels that it groups by."""
    text = re.sub(r'"(?:[^"\\]|\\.)*"', '""', query)
    grouped = {label.strip() for labels in re.findall(GROUPING, text) for label in labels.split(",") if label.strip()}
    text = re.sub(GROUPING, " ", text)
    text = re.sub(r"\[[^\]]*\]", " ", text)
    found = []
    for match in re.finditer(r"(?<![\w.])([A-Za-z_:][\w:]*)\s*(\(|\{[^}]*\})?", text):
        name, after = match[1], match[2] or ""
        if after == "(" or name.lower() in WORDS or text[: match.start()].count("{") > text[: match.start()].count("}"):
            continue
        found.append((name, set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", after))))
    return found, grouped


def judge(where, query, series):
    metrics, grouped = named(query)
    if not metrics:
        fail(f"{where}: names no metric: {query}")
    allowed = set(SCRAPED)
    for name, labels in metrics:
        if name not in series:
            fail(f"{where}: kubemint exposes no {name}: {query}")
        if lacking := labels - series[name] - SCRAPED:
            fail(f"{where}: {name} has no label {', '.join(sorted(lacking))}: {query}")
        allowed |= series[name]
    if lacking := grouped - allowed:
        fail(f"{where}: nothing there has the label {', '.join(sorted(lacking))}: {query}")


def panels(dashboard):
    for panel in dashboard["panels"]:
        yield panel
        yield from panel.get("panels", [])


def main(dashboard, rule, out, *metrics):
    series = exposed(metrics)
    # The judge itself: what is wrong must be seen.
    for query in ['sum(kubemint_nothing{job="a"})', 'kubemint_credentials{shade="x"}', "sum by (shade) (kubemint_credentials)", "up"]:
        try:
            judge("proof", query, series)
        except SystemExit:
            continue
        fail(f"a wrong query was not noticed: {query}")

    board = json.loads(Path(dashboard).read_text())
    queries = [(f"dashboard, {panel['title']}", each["expr"]) for panel in panels(board) for each in panel.get("targets", [])]
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            match = re.fullmatch(r"label_values\((.*), *(\w+)\)", variable["query"]["query"])
            if not match:
                fail(f"dashboard: the variable {variable['name']} is no label_values(…)")
            queries.append((f"dashboard, variable {variable['name']}", f"count by ({match[2]}) ({match[1]})"))
    # What Grafana puts in.
    queries = [(where, re.sub(r"\$__rate_interval|\$__interval|\$__range", "5m", query)) for where, query in queries]
    queries = [(where, re.sub(r"\$\{?\w+\}?", "x", query)) for where, query in queries]
    rules = [each for group in yaml.safe_load(Path(rule).read_text())["spec"]["groups"] for each in group["rules"]]
    queries += [(f"rule {each.get('alert') or each['record']}", each["expr"]) for each in rules]
    for where, query in queries:
        judge(where, query, series)
    used = {name for _, query in queries for name, _ in named(query)[0]}
    written = {"groups": [{"name": "queries", "rules": [
        {"record": f"query:{number}", "expr": query} for number, (_, query) in enumerate(queries)]}]}
    Path(out).write_text(yaml.safe_dump(written))
    print(f"deployment: {len(queries)} queries name {len(used)} of {len(series)} series")


if len(sys.argv) < 5:
    sys.exit(__doc__)
main(*sys.argv[1:])
