"""The Grafana dashboard asks only for what is exported, and the page on observability names all of it."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.metering.exported import everything_shown, labels_by_name

ROOT = Path(__file__).parents[2]
DASHBOARD: dict[str, Any] = json.loads((ROOT / "deploy/grafana/intramural.json").read_text("utf-8"))
EXPORTED = labels_by_name(everything_shown())
_SELECTOR = re.compile(r"\b((?:intramural|gen_ai|process)_\w+)(?:\{([^}]*)\})?")
_GROUPING = re.compile(r"\bby \(([^)]*)\)")
_FUNCTIONS = {"sum", "max", "rate", "increase", "histogram_quantile"}


def queries() -> Iterator[tuple[str, str, str]]:
    """Panel, query, legend."""
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"], target["legendFormat"]


@pytest.mark.parametrize(("panel", "query", "legend"), list(queries()))
def test_every_query_asks_for_series_and_labels_that_are_exported(panel: str, query: str, legend: str) -> None:
    selectors = _SELECTOR.findall(_GROUPING.sub("", query))
    assert selectors, f"{panel} asks for nothing"
    labels: set[str] = set()
    for name, matchers in selectors:
        assert name in EXPORTED, f"{panel}: {name} is not exported"
        labels |= EXPORTED[name]
        for matcher in re.findall(r'(\w+)\s*(?:=~|!~|!=|=)\s*"', matchers):
            assert matcher in EXPORTED[name], f"{panel}: {name} has no label {matcher}"
        if name.endswith("_total"):
            assert re.search(rf"(rate|increase)\({name}", query), f"{panel}: the counter {name} is shown as it is"
        if name.endswith("_bucket"):
            assert "histogram_quantile(" in query
            assert re.search(r"by \(le\b", query)
    groupings = {each.strip() for group in _GROUPING.findall(query) for each in group.split(",")}
    assert groupings <= labels, f"{panel} groups by what there is not"
    shown = set(re.findall(r"\{\{(\w+)\}\}", legend))
    assert shown <= (groupings or labels), f"{panel}: the legend names a label that is gone"
    assert set(re.findall(r"\b(\w+)\(", query)) <= _FUNCTIONS
    assert query.count("(") == query.count(")")


def test_panels_have_places_of_their_own() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not cells & taken, f"{panel['title']} lies on another"
        taken |= cells
    numbers = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(numbers)) == len(numbers)


def test_the_choice_of_models_is_made_of_an_exported_label() -> None:
    variable = next(each for each in DASHBOARD["templating"]["list"] if each["name"] == "model")
    found = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["definition"])
    assert found is not None
    assert found.group(2) in EXPORTED[found.group(1)]


def test_it_reaches_for_nothing_outside() -> None:
    text = json.dumps(DASHBOARD)
    assert "http" not in text
    assert {panel["type"] for panel in DASHBOARD["panels"]} == {"row", "stat", "timeseries"}  # built into Grafana


def test_every_alert_of_the_page_asks_for_what_is_exported() -> None:
    page = (ROOT / "docs/observability.md").read_text("utf-8")
    asked = re.findall(r"^ +expr: (\w+)", page, re.MULTILINE)
    assert len(asked) == page.count("- alert:") and {"intramural_anchors_red", "intramural_anchor_age_seconds"} < set(
        asked
    )
    assert set(asked) - {"up"} <= set(EXPORTED)  # `up` is Prometheus's own


def test_the_page_names_every_metric_and_no_other() -> None:
    page = (ROOT / "docs/observability.md").read_text("utf-8")
    said = set(re.findall(r"^\| `((?:intramural|gen_ai)_\w+)` \|", page, re.MULTILINE))
    ours = {re.sub(r"_(bucket|count|sum|created)$", "", n) for n in EXPORTED if n.startswith(("intramural", "gen_ai"))}
    assert said == {name for name in ours if f"{name}_total" not in ours}
