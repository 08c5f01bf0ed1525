"""The dashboard and the alert rules ask for nothing that the service does not export."""

import json
import re
from pathlib import Path

import yaml

from service.metrics import Metrics

MONITORING = Path(__file__).resolve().parents[1] / "deploy" / "monitoring"


def exported() -> dict[str, set[str]]:
    """Every sample name of the service, with its labels."""
    found: dict[str, set[str]] = {}
    for family in Metrics().registry.collect():
        collector = Metrics().registry._names_to_collectors[family.name]
        labels = set(collector._labelnames)  # a metric with labels has no sample before its first use
        ends = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}[family.type]
        found |= {family.name + end: labels | ({"le"} if end == "_bucket" else set()) for end in ends}
    return found


def asked() -> list[str]:
    board = json.loads((MONITORING / "grafana.json").read_text(encoding="utf-8"))
    rules = yaml.safe_load((MONITORING / "alerts.yml").read_text(encoding="utf-8"))
    return [
        *(target["expr"] for panel in board["panels"] for target in panel["targets"]),
        *(rule["expr"] for group in rules["groups"] for rule in group["rules"]),
    ]


def test_every_metric_and_label_exists() -> None:
    metrics = exported()
    for expression in asked():
        names = re.findall(r"docent_\w+", expression)
        assert names or expression.startswith("up{"), expression
        labels = {
            label
            for listed in re.findall(r"by \(([^)]*)\)|\{(\w+)=", expression)
            for label in ",".join(listed).replace(" ", "").split(",")
            if label
        } - {"job"}
        for name in names:
            assert name in metrics, f"{name} in {expression}"
            assert labels <= metrics[name], f"{labels} in {expression}"


def test_every_metric_is_shown() -> None:
    shown = set(re.findall(r"docent_\w+", " ".join(asked())))
    hidden = {n for n in exported() if n not in shown and not n.endswith(("_sum", "_count"))}
    assert not hidden, "a metric that nobody looks at"
