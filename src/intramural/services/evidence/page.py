"""A pack as one page to read and to print. Pure.

It is made of the statement alone, so that whoever has the signed file can compare. Everything in it is escaped.
"""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from intramural.services.paper import document, moment, pairs

#: What is shown of an outcome: a word, and a sign that needs no colour.
_SIGNS: Mapping[str, str] = {"met": "✓ met", "failed": "✗ failed", "not seen": "– not seen"}
_STYLE = """
h3 { margin: 0; } p, ul { margin: .25rem 0; } ul { padding-left: 1.25rem; }
article { border-top: 1px solid var(--line); padding: .75rem 0; break-inside: avoid; }
.met { color: var(--green); font-weight: 600; } .failed { color: var(--red); font-weight: 600; }
.blank { border-bottom: 1px dashed var(--soft); }
@media (max-width: 30rem) { dl { grid-template-columns: 1fr; } dt { margin-top: .375rem; } }
"""


def page(said: Mapping[str, Any], digest: str) -> str:
    """`said`: the statement; `digest`: SHA-256 of its canonical form, in hexadecimal, as the log has it."""
    results = {each["control"]: each for each in said["controls"]}
    title = f"{said['title']}: evidence"
    body = [
        f"<h1>{escape(title)}</h1>",
        _head(said, digest),
        *_failed(said["controls"]),
        "<h2>Provisions</h2>",
        *(_provision(each, results) for each in said["provisions"]),
        *_sheet("Record of processing (article 30(1))", said.get("record")),
        *_sheet("For an impact assessment (article 35(7))", said.get("assessment")),
        "<h2>Controls</h2>",
        *map(_control, said["controls"]),
    ]
    return document(title, _STYLE, body)


def _head(said: Mapping[str, Any], digest: str) -> str:
    sums = said["sums"]
    rows = [
        ("Institution", escape(said["institution"]) or _blank("consent.institution")),
        ("Made", moment(said["time_ms"])),
        ("Made by", f"intramural {escape(said['version'])}"),
        ("Controls", f"{sums['met']} met, {sums['failed']} failed, {sums['not_seen']} not seen"),
        ("Log", f"{said['log']['size']} entries, root <code>{escape(said['log']['root'])}</code>"),
        ("Statement", f"SHA-256 <code>{escape(digest)}</code>"),
    ]
    signed = (
        "The signed statement is a file beside this page; whoever has the log's public key checks it with "
        "<code>verify_intramural.py statement --kind evidence</code>."
    )
    scope = f'<p class="soft">{escape(said["scope"])}</p>'
    return f'<p>{escape(said["says"])}</p>\n{scope}\n{pairs(rows)}\n<p class="soft">{signed}</p>'


def _failed(controls: Sequence[Mapping[str, Any]]) -> list[str]:
    found = [each for each in controls if each["outcome"] == "failed"]
    if not found:
        return []
    items = "".join(
        f'<li><a href="#{escape(each["control"])}">{escape(each["says"])}</a> {escape(each["seen"])}</li>'
        for each in found
    )
    return ["<h2>What failed</h2>", "<p>These did not hold when they were looked at:</p>", f"<ul>{items}</ul>"]


def _provision(each: Mapping[str, Any], results: Mapping[str, Mapping[str, Any]]) -> str:
    kind = f" ({escape(each['kind'])})" if each["kind"] else ""
    items = "".join(
        f'<li>{_outcome(results[name]["outcome"])} <a href="#{escape(name)}">{escape(results[name]["says"])}</a></li>'
        for name in each["controls"]
    )
    evidence = f"<ul>{items}</ul>" if items else '<p class="soft">No control here shows anything of it.</p>'
    remains = f"<p>Remains with the institution: {escape(each['remains'])}</p>" if each["remains"] else ""
    heading = f"<h3>{escape(each['cite'])}: {escape(each['title'])}{kind}</h3>"
    return f'<article>{heading}<p class="soft">{escape(each["asks"])}</p>{evidence}{remains}</article>'


def _control(each: Mapping[str, Any]) -> str:
    rows = [
        ("Result", f"{_outcome(each['outcome'])}: {escape(each['seen'])}"),
        ("Looked", f"{moment(each['checked_ms'])}; so since {moment(each['since_ms'])}"),
        ("Check", escape(each["check"])),
        ("Turned off by", escape(each["off"])),
        ("If it fails", escape(each["mend"])),
    ]
    name = escape(each["control"])
    return f'<article id="{name}"><h3>{escape(each["says"])} <code>{name}</code></h3>{pairs(rows)}</article>'


def _sheet(title: str, fields: Sequence[Mapping[str, Any]] | None) -> list[str]:
    return [] if fields is None else [f"<h2>{title}</h2>", *map(_field, fields)]


def _field(each: Mapping[str, Any]) -> str:
    if each["blank"]:
        body = f"<p>{_blank(each['setting'])}</p>"
    else:
        body = "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in each["lines"]) + "</ul>"
    return f"<article><h3>{escape(each['place'])} {escape(each['what'])}</h3>{body}</article>"


def _blank(setting: str) -> str:
    """What only people know. `setting`: where they can say it; empty: on paper."""
    where = f" (setting <code>{escape(setting)}</code>)" if setting else ""
    return f'<span class="blank">To be filled in by the institution{where}.</span>'


def _outcome(outcome: str) -> str:
    return f'<span class="{escape(outcome.partition(" ")[0])}">{escape(_SIGNS[outcome])}</span>'
