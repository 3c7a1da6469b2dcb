"""What is promised of redaction: never that nobody can be recognised. Only a person who knows the data can say that."""

import re
from pathlib import Path

from intramural.guard import claim
from intramural.guard.measured import OUTSIDE_LEAK_RATE

ROOT = Path(__file__).parents[2]
#: In any language's spelling, and taken apart by a hyphen or a line's end; not the name of a switch of somebody else's.
FORBIDDEN = re.compile(
    r"de-?\s?identif|anonymi[sz](?!ED_TELEMETRY)|anonymous|hipaa[- ](?:safe|compliant|proof)|safe harbou?r compliant",
    re.I,
)
TEXTS = [
    *ROOT.glob("src/intramural/**/*.py"),
    *ROOT.glob("ui/src/**/*.ts"),
    *ROOT.glob("ui/src/**/*.svelte"),
    *ROOT.glob("docs/**/*.md"),
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
]


def test_the_words_appear_nowhere() -> None:
    assert len(TEXTS) > 300
    found = [
        (str(path.relative_to(ROOT)), match[0])
        for path in TEXTS
        for match in FORBIDDEN.finditer(path.read_text("utf-8"))
    ]
    assert found == []


def test_the_pattern_finds_them() -> None:
    for text in ("de-identified", "Deidentification", "anonymous", "anonymised", "de-\nidentified", "HIPAA safe"):
        assert FORBIDDEN.search(text), text


def test_the_claim_names_its_measure_and_the_page_has_it() -> None:
    assert claim() == f"Assisted redaction, measured leak rate {round(OUTSIDE_LEAK_RATE * 100)} %"
    assert f"*{claim()}*" in (ROOT / "docs/guard.md").read_text("utf-8")
