"""`docs/inspection.md` names every code, and none that does not exist."""

import re
from pathlib import Path

from tests.malicious import table

from intramural.library.encoder import EncoderFlaw
from intramural.library.finding import RELEASABLE, Danger
from intramural.library.gguf import Flaw
from intramural.library.onnx import OnnxFlaw
from intramural.library.safetensors import SafetensorsFlaw
from intramural.library.snapshot import SnapshotFlaw

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "inspection.md").read_text("utf-8")


def test_every_code_is_explained() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| `")]
    ours = r"`((?:gguf|template|safetensors|snapshot|onnx)_[a-z0-9_]+)`"
    codes = [code for row in rows for code in re.findall(ours, row.split(" | ")[0])]
    known = [
        each.value for kind in (Flaw, SafetensorsFlaw, SnapshotFlaw, OnnxFlaw, EncoderFlaw, Danger) for each in kind
    ]
    assert sorted(codes) == sorted(known)


def test_what_can_be_released_is_under_quarantined() -> None:
    quarantined = PAGE.split("Quarantined, because")[1].split("## ")[0]
    assert set(re.findall(r"`(template_[a-z_]+)`", quarantined)) == {danger.value for danger in RELEASABLE}


def test_the_page_of_security_shows_what_becomes_of_malicious_models() -> None:
    begins, ends = "<!-- models: written by tests/malicious.py -->\n", "\n<!-- end of models -->"
    shown = (DOCS / "security.md").read_text("utf-8").split(begins)[1].split(ends)[0]
    assert shown == table(), f"docs/security.md shows another table; it should be:\n{table()}"
