"""An attestation as a page that is read and printed: sentences first, then what they were made from. Pure.

One file that needs nothing from anywhere: no script, no picture, one sheet of style that the page's own policy names by
its hash. It is made from what was signed and says so; who wants to be sure checks the JSON, not the page.
"""

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any

from intramural.services.attestation.findings import TOPICS

_STYLE = """
:root { color-scheme: light; --red: #a4161a; --amber: #7a4a00; --green: #1b5e20; --line: #c9ccd1; --soft: #f4f5f7; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 52rem; padding: 1.5rem 1rem 4rem; color: #16181d; background: #fff;
  font: 1rem/1.5 system-ui, "Segoe UI", "Liberation Sans", sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .25rem; }
h2 { font-size: 1.2rem; margin: 2.25rem 0 .5rem; border-bottom: 1px solid var(--line); padding-bottom: .25rem; }
h3 { font-size: 1rem; margin: 1.25rem 0 .25rem; }
p { margin: .5rem 0; }
.about { color: #4a4f57; }
.verdict { border: 2px solid var(--its); border-radius: .5rem; padding: .75rem 1rem; margin: 1.25rem 0;
  font-size: 1.1rem; }
.red { --its: var(--red); } .amber { --its: var(--amber); } .green { --its: var(--green); }
ul.found { list-style: none; padding: 0; margin: .5rem 0; }
ul.found li { border-left: .3rem solid var(--its); padding: .1rem 0 .1rem .75rem; margin: .6rem 0;
  break-inside: avoid; }
.mark { font-weight: 700; display: block; color: var(--its); }
dl { display: grid; grid-template-columns: minmax(7rem, max-content) 1fr; gap: .25rem 1rem; margin: .5rem 0; }
dt { color: #4a4f57; } dd { margin: 0; }
.wide { overflow-x: auto; margin: .5rem 0; }
table { border-collapse: collapse; width: 100%; font-size: .875rem; overflow-wrap: normal; }
caption { text-align: left; color: #4a4f57; padding: .25rem 0; }
th, td { text-align: left; vertical-align: top; padding: .3rem .6rem .3rem 0; border-bottom: 1px solid var(--line); }
code { font-family: ui-monospace, "Liberation Mono", monospace; font-size: .9em; }
pre { background: var(--soft); padding: .75rem; border-radius: .4rem; white-space: pre-wrap; overflow-wrap: anywhere; }
@media print {
  body { max-width: none; padding: 0; font-size: 10pt; }
  .wide { overflow: visible; }
  table { font-size: 8pt; } td.long { overflow-wrap: anywhere; }
  thead { display: table-header-group; } tr { break-inside: avoid; } h2, h3 { break-after: avoid; }
  pre { border: 1px solid var(--line); }
}
@page { margin: 16mm; }
"""
#: What the page may load: nothing, and its own sheet of style.
POLICY = (
    "default-src 'none'; base-uri 'none'; form-action 'none'; style-src 'sha256-"
    + base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    + "'"
)

#: Of a public key, what one compares by eye; an ML-DSA-44 key has 1,800 characters.
_KEY_CHARACTERS = 120
_LONG_WORD = 20
_MARKS: Mapping[str, str] = {"red": "Missing, lowered or not seen", "amber": "Look at this", "green": "Holds"}
_VERDICTS: Mapping[str, str] = {
    "red": "Something is missing, was lowered, or could not be seen. It is said first, below.",
    "amber": "Nothing is missing. Some things say less than they could, or somebody decided them: they come first.",
    "green": "All that was looked at holds.",
}
_SHOWS = (
    "It shows what the machine's kernel said, at that moment, about the processes of this service, their networks and "
    "their sockets; what the service's own log has of every connection that it made for somebody; and that this was "
    "signed by the key of that log, after the log had the entries it names.",
    "The control shows that the attempt it makes works where it is allowed, and is refused where models are. It is "
    "made by processes of its own, confined in the same way; it does not look into a process that is at work.",
    "It does not show what other programs on this machine do, what the building's network lets through, or what "
    "happened between two such accounts. It cannot show that the kernel, or whoever administers the machine, does not "
    "lie. A number that you chose yourself shows only that it was made after you asked.",
)


def page_of(data: bytes) -> str:
    """The page of an attestation as it was handed out."""
    whole = json.loads(data)
    said, sections = whole["statement"], whole["sections"]
    title = f"Attestation of {_day(said['time_ms'])}"
    body = [
        f"<h1>{escape(title)}</h1>",
        '<p class="about">What leaves this building, what confines the models, and what was looked at to say so.</p>',
        f'<p class="verdict {_colour(said["colour"])}"><span class="mark">{_MARKS[_colour(said["colour"])]}</span>'
        f"{_VERDICTS[_colour(said['colour'])]}</p>",
        _about(said),
        *_attention(said["findings"]),
        *_holding(said["findings"]),
        "<h2>What this shows, and what it does not</h2>",
        *(f"<p>{escape(each)}</p>" for each in _SHOWS),
        *_checking(whole),
        "<h2>What it was made from</h2>",
        *_tables(sections),
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<meta name="robots" content="noindex">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(body)
        + "\n</main>\n</body>\n</html>\n"
    )


# sentences ------------------------------------------------------------------------------------------------------------


def _about(said: Mapping[str, Any]) -> str:
    nonce = said["nonce"]
    asked = "made by itself, as a setting says" if said["scheduled"] else "somebody asked for it"
    return _pairs(
        [
            ("Made", f"{_time(said['time_ms'])}; {asked}"),
            ("Asked with", f"the number {nonce}" if nonce else "no number of somebody's own"),
            ("By", said["product"]),
            ("Identifier", said["id"]),
            ("The log had", f"{said['log']['size']} entries, root {said['log']['root']}"),
        ]
    )


def _attention(found: Sequence[Mapping[str, str]]) -> Iterable[str]:
    wanted = [each for colour in ("red", "amber") for each in found if each["colour"] == colour]
    if wanted:
        yield "<h2>What needs attention</h2>"
        yield _listed(wanted)


def _holding(found: Sequence[Mapping[str, str]]) -> Iterable[str]:
    yield "<h2>What holds</h2>"
    for topic, title in TOPICS:
        wanted = [each for each in found if each["topic"] == topic and each["colour"] == "green"]
        if wanted:
            yield f"<h3>{escape(title)}</h3>"
            yield _listed(wanted)


def _listed(found: Iterable[Mapping[str, str]]) -> str:
    lines = "".join(
        f'<li class="{_colour(each["colour"])}"><span class="mark">{_MARKS[_colour(each["colour"])]}</span>'
        f"{escape(each['says'])}</li>"
        for each in found
    )
    return f'<ul class="found">{lines}</ul>'


def _colour(text: str) -> str:
    return text if text in _MARKS else "red"


def _checking(whole: Mapping[str, Any]) -> Iterable[str]:
    nonce = whole["statement"]["nonce"]
    option = f" --nonce {nonce}" if nonce else ""
    yield "<h2>How to check it</h2>"
    yield (
        "<p>This page is made from a signed file, <code>attestation.json</code>. Have the public key of the log by "
        "another way than from this machine, and the verifier, which is one file that needs Python and its package "
        "<code>cryptography</code>. On any machine:</p>"
    )
    yield f"<pre>python3 verify_intramural.py attestation attestation.json --key KEY{escape(option)}</pre>"
    yield "<p>It says that the key begins like this, to compare with the one that you have:</p>"
    keys = [each if len(each) <= _KEY_CHARACTERS else f"{each[:_KEY_CHARACTERS]}…" for each in whole["public_keys"]]
    yield f"<pre>{escape(chr(10).join(keys))}</pre>"


# tables ---------------------------------------------------------------------------------------------------------------


def _tables(sections: Mapping[str, Any]) -> Iterable[str]:
    tables = {
        "confinement": _confinement,
        "network": _network,
        "control": _control,
        "leaving": _leaving,
        "models": _models,
        "software": _software,
        "bill": _bill,
        "settings": _settings,
        "anchors": _anchors,
    }
    for name, table in tables.items():
        if name in sections:
            yield from table(sections[name])
        else:
            yield f"<p>The section “{name}” was left out of this copy.</p>"


def _confinement(section: Mapping[str, Any]) -> Iterable[str]:
    found, kernel = section["confinement"], section["kernel"]
    yield "<h3>Confinement</h3>"
    yield _pairs(
        [
            ("Kernel", f"Linux {kernel['release']} on {kernel['machine']}, Landlock ABI {kernel['landlock_abi']}"),
            ("Reached", f"{found['level']}; required: {found['required']}"),
            ("The service", _text(found["seal"]) + _in_brackets(found["seal_layers"])),
            ("It may connect for", ", ".join(found["connects"]) or "nothing"),
        ]
    )
    here = next((each["network"].get("place") for each in section["processes"] if each["kind"] == "gateway"), None)
    rows = [
        (
            each["kind"], each["name"], each["pid"], each["user"],
            "yes" if each["seccomp"] else "NO", "yes" if each["no_new_privileges"] else "NO", each["capabilities"],
            ", ".join(each["layers"]) or "—", _unset(each.get("unset")), *_network_of(each["network"], here),
        )
        for each in section["processes"]
    ]  # fmt: skip
    titles = (
        "what", "name", "process", "user", "filter", "no new privileges", "capabilities", "layers it says",
        "switches not set", "network", "bytes in / out",
    )  # fmt: skip
    yield _table("Processes of the service, as the kernel shows them", titles, rows)


def _unset(unset: object) -> str:
    """Of an account of earlier, nothing was asked."""
    if not isinstance(unset, list):
        return "not seen"
    return ", ".join(unset) or "—"


def _network_of(network: Mapping[str, Any], here: int | None) -> tuple[str, str]:
    """Whose it is, and what went over its interfaces; of the machine's own that says nothing."""
    if "not_seen" in network:
        return f"not seen: {network['not_seen']}", "—"
    if network["place"] == here:
        return "the machine's", "—"
    received = sum(each["received_bytes"] for each in network["interfaces"])
    return f"its own ({network['place']})", f"{received} / {sum(each['sent_bytes'] for each in network['interfaces'])}"


def _network(section: Mapping[str, Any]) -> Iterable[str]:
    yield "<h3>Sockets</h3>"
    for space in section["namespaces"]:
        about = f"Network {space['place']}, of the processes {', '.join(map(str, space['pids']))}"
        rows = [
            (
                each["socket"]["table"], each["socket"]["state"],
                _end(each["socket"]["local"], each["socket"]["local_port"]),
                _end(each["socket"]["remote"], each["socket"]["remote_port"]), each["owner"],
            )
            for each in space["listed"]
        ]  # fmt: skip
        more = [f"{space['more']} more of ours"] if space["more"] else []
        more += [f"{space['others']} others, not listed"] if space["others"] else []
        more += [f"{table} was read in part" for table in space["cut"]]
        more += [f"{table} was not seen: {why}" for table, why in space["unread"].items()]
        yield _table(
            about + (f" ({'; '.join(more)})" if more else ""), ("kind", "state", "here", "there", "whose"), rows
        )
    yield from _packet_filter(section.get("packet_filter", {"not_seen": "nothing was asked"}))


def _packet_filter(found: Mapping[str, Any]) -> Iterable[str]:
    yield "<h3>The packet filter</h3>"
    if "not_seen" in found:
        yield f"<p>Not answered: {escape(found['not_seen'])}.</p>"
        return
    yield _pairs(
        [
            ("Read", f"when the service started, {_time(found['read_ms'])}"),
            ("Rules", f"{found['rules']} in {found['tables']} tables, sha256 {found['sha256']}"),
            ("Tables of an older kind", ", ".join(found["older"]) or "none"),
        ]
    )
    rows = [
        (each["hook"], each["family"], each["table"], each["name"], each["type"], each["priority"], each["rules"],
         "dropped" if each["drops"] else "let through")
        for each in found["chains"]
    ]  # fmt: skip
    titles = ("packets", "family", "table", "chain", "type", "priority", "rules", "what no rule names is")
    yield _table("Its chains", titles, rows)


def _control(section: Mapping[str, Any]) -> Iterable[str]:
    yield "<h3>The control</h3>"
    found = section["control"]
    if "not_seen" in found:
        yield f"<p>Not made: {escape(found['not_seen'])}.</p>"
        return
    halves = {"as a worker": found["confined"], "as the broker": found["allowed"]}
    rows = []
    for name, half in halves.items():
        if "not_seen" in half:
            rows.append((name, "not made", half["not_seen"], "—"))
            continue
        arrived = "yes" if half["arrived"] else "no"
        rows += [
            (name, each["name"], each["outcome"], arrived if each["name"] == "tcp" else "—")
            for each in half["attempts"]
        ]
    rows += [("the service itself", each["name"], each["outcome"], "—") for each in found["own"]]
    yield _table(f"Attempts to reach {found['address']}", ("process", "attempt", "outcome", "arrived"), rows)


def _leaving(section: Mapping[str, Any]) -> Iterable[str]:
    way = section["way"]
    yield "<h3>What may leave, and what did</h3>"
    state = "its process runs" if way["running"] else "no process for it runs"
    yield _pairs([("Mode", f"{way['mode']}; {state}"), ("Questions waiting", str(way["asked"]))])
    rows: list[tuple[object, ...]] = [
        (each["purpose"], each["host"], each["port"] or "any", ", ".join(each["near"]), each["by"],
         "for good" if each["expires_ms"] is None else _time(each["expires_ms"]))
        for each in way["allowed"]
    ]  # fmt: skip
    yield _table("The list", ("for", "host", "port", "where", "allowed by", "until"), rows)
    yield from _ledger(way["ledger"])
    rows = [
        (each["name"], each["kind"], each["address"], "outside" if each["outside"] else "inside",
         ", ".join(each["models"]))
        for each in section["engines"]
    ]  # fmt: skip
    yield _table("Engines on other machines", ("name", "kind", "address", "where", "models"), rows)
    switches = section.get("switches", {})
    yield _pairs(
        [("Told to libraries", ", ".join(f"{name}={value}" for name, value in switches.items()) or "not seen")]
    )


def _ledger(ledger: Mapping[str, Any]) -> Iterable[str]:
    if "not_seen" in ledger:
        yield f"<p>The ledger was not seen: {escape(ledger['not_seen'])}.</p>"
        return
    rows = [
        (each["purpose"], _end(each["host"], each["port"]), each["connected"], each["refused"], each["failed"],
         _number(each["sent_bytes"]), _number(each["received_bytes"]))
        for each in ledger["went"]
    ]  # fmt: skip
    about = f"The ledger from {_time(ledger['from_ms'])} to {_time(ledger['to_ms'])}, {ledger['lines']} lines"
    titles = ("for", "host", "connections", "refused", "failed", "bytes out", "bytes in")
    yield _table(about + ("" if ledger["whole"] else ", read in part"), titles, rows)


def _models(section: Mapping[str, Any]) -> Iterable[str]:
    yield "<h3>Models</h3>"
    found = section["models"]
    if not isinstance(found, list):
        yield f"<p>Not seen: {escape(found['not_seen'])}.</p>"
        return
    rows = [
        (each["name"], each["digest"], each["source"], each["trust"], each["signer"] or "—",
         "held back" if each["quarantined"] else "loaded" if each["loaded"] else "on the shelf")
        for each in found
    ]  # fmt: skip
    yield _table(
        f"Models; required: {section['required_trust']}", ("name", "digest", "source", "trust", "signer", "state"), rows
    )


def _software(section: Mapping[str, Any]) -> Iterable[str]:
    yield "<h3>Software</h3>"
    found = section["software"]
    if "not_seen" in found:
        yield f"<p>Not seen: {escape(found['not_seen'])}.</p>"
        return
    yield _pairs(
        [
            ("This product", f"{found['version']}, modules sha256 {found['own']}"),
            ("Python", found["python"]),
            ("Packages compared", str(found["packages"])),
            ("Files that differ", ", ".join(found["changed"]) or "none"),
            ("Not compared", ", ".join(found["unchecked"]) or "none"),
            ("Engine", found["engine"]),
        ]
    )
    rows = [(each["name"], each["sha256"]) for each in found["engine_files"]]
    yield _table("The engine's native code", ("file", "sha256"), rows)


def _bill(section: Mapping[str, Any]) -> Iterable[str]:
    if "not_seen" in section:
        yield f"<p>The bill of materials was not seen: {escape(section['not_seen'])}.</p>"
        return
    count = len(section.get("components", []))
    standard = f"CycloneDX {section.get('specVersion', '')}"
    yield _pairs(
        [("Bill of materials", f"{count} components with hashes and licences, in the signed file ({standard})")]
    )


def _settings(section: Mapping[str, Any]) -> Iterable[str]:
    found = section["settings"]
    yield "<h3>Settings</h3>"
    yield _pairs(
        [
            ("All settings", f"sha256 {found['sha256']}, secrets left out"),
            ("Not as they come", ", ".join(found["changed"]) or "none"),
            ("Secrets that are set", ", ".join(found["secrets"]) or "none"),
            ("Rules", section["policy_digest"] or "none of the institution's own"),
            *((f"{each['setting']} = {each['value']}", each["says"]) for each in section["downgrades"]),
        ]
    )


def _anchors(section: Mapping[str, Any]) -> Iterable[str]:
    found = section["anchors"]
    yield "<h3>Copies of the log's checkpoints elsewhere</h3>"
    if "not_seen" in found:
        yield f"<p>Not seen: {escape(found['not_seen'])}.</p>"
        return
    newest = "never" if found["newest_ms"] is None else _time(found["newest_ms"])
    yield _pairs([("Named", ", ".join(found["named"]) or "none"), ("Newest", newest), ("So", found["why"])])


# what tables share ----------------------------------------------------------------------------------------------------


def _table(about: str, titles: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    if not rows:
        return f'<p class="about">{escape(about)}: none.</p>'
    head = "".join(f'<th scope="col">{escape(each)}</th>' for each in titles)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    label = escape(about, quote=True)
    return (
        f'<div class="wide" role="region" tabindex="0" aria-label="{label}"><table><caption>{escape(about)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _cell(value: object) -> str:
    """On paper, what has a word too long for a column (a hash) is broken anywhere; nothing else is."""
    text = str(value)
    is_long = any(len(word) > _LONG_WORD for word in text.split())
    return f"{'<td class=long>' if is_long else '<td>'}{escape(text)}</td>"


def _pairs(pairs: Iterable[tuple[str, str]]) -> str:
    return f"<dl>{''.join(f'<dt>{escape(name)}</dt><dd>{escape(value)}</dd>' for name, value in pairs)}</dl>"


def _text(value: object) -> str:
    return f"not seen: {value['not_seen']}" if isinstance(value, Mapping) else str(value)


def _in_brackets(names: Sequence[str]) -> str:
    return f" ({', '.join(names)})" if names else ""


def _end(host: str, port: int | None) -> str:
    return f"{host} port {port}" if host else "—"


def _number(value: int | None) -> str:
    return "not said" if value is None else str(value)


def _time(ms: int) -> str:
    return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _day(ms: int) -> str:
    return f"{datetime.fromtimestamp(ms / 1000, UTC):%d %B %Y, %H:%M} UTC"
