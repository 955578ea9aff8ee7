"""docs/operators/monitoring.md lists every metric, and its alert rules use metrics that exist."""

from __future__ import annotations

import re

import yaml

from tests.e2e.test_metrics import NAMES

from .pages import text_of

PAGE = text_of("docs/operators/monitoring.md")
WORD = re.compile(r"\bkaixu_[a-z_]+")
SAMPLES = {name.removesuffix("_count") for name in NAMES}


def test_every_metric_is_listed_with_its_labels() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| `kaixu_")]
    listed = {
        name: {*re.findall(r"`(\w+)`", row.split("|")[2])} for row in rows for name in WORD.findall(row.split("|")[1])
    }
    assert listed == {name.removesuffix("_count"): {*labels} for name, labels in NAMES.items()}


def test_alert_rules_use_metrics_and_labels_that_exist() -> None:
    rules = [
        rule
        for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
        for group in yaml.safe_load(block).get("groups", [])
        for rule in group["rules"]
    ]
    assert len(rules) > 5
    for rule in rules:
        for name in WORD.findall(rule["expr"]):
            assert name.removesuffix("_count").removesuffix("_bucket") in SAMPLES, rule["alert"]
        for label in re.findall(r"[{,](\w+)=", rule["expr"]):
            assert any(label in labels for labels in NAMES.values()), rule["alert"]
