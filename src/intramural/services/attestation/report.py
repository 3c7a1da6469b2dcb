"""The report as it is signed and handed out: `docs/formats.md` has its form. Pure.

What is signed is short: the sentences, and a SHA-256 of each section of what they were made from. So whoever hands it
on may leave a section out (a list of machines, say) and the rest holds; a section that was changed does not.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from intramural import __version__
from intramural.audit import canonical
from intramural.core.errors import Misasked
from intramural.services.attestation import facts as f
from intramural.services.attestation.findings import Finding, worst

KIND = "attestation"
FORM = 1
#: What a nonce may be: what `openssl rand` prints in hexadecimal or base64, and what nobody's shell or page acts on.
_NONCE = re.compile(r"[A-Za-z0-9._:+/=-]{1,128}")

#: section → the facts in it.
SECTIONS: Mapping[str, Sequence[str]] = {
    "confinement": ("kernel", "confinement", "processes", "gone", "refused"),
    "network": ("namespaces", "packet_filter"),
    "control": ("control",),
    "leaving": ("way", "switches", "engines"),
    "models": ("required_trust", "models"),
    "software": ("software",),
    "settings": ("policy_digest", "settings", "downgrades"),
    "anchors": ("anchors",),
}
#: Of the software, the bill of materials is a section of its own, as the standard has it.
BILL = "bill"


@dataclass(frozen=True, slots=True)
class Unsigned:
    """What is to be signed (`statement`), and the sections whose hashes it holds."""

    statement: Mapping[str, Any]
    sections: Mapping[str, Any]

    @property
    def line(self) -> str:
        """The statement in its canonical form."""
        return canonical(self.statement)

    @property
    def sha256(self) -> str:
        """Of the statement, as the log has it."""
        return hashlib.sha256(self.line.encode("ascii")).hexdigest()


def checked_nonce(text: str | None) -> str | None:
    """Raises Misasked(`bad_nonce`)."""
    if text is None:
        return None
    if not _NONCE.fullmatch(text):
        hint = "It has up to 128 letters, digits and any of `._:+/=-`, such as `openssl rand -hex 16` prints."
        raise Misasked("bad_nonce", "That is no nonce.", hint, param="nonce")
    return text


def written(
    report_id: str, facts: f.Facts, found: Sequence[Finding], nonce: str | None, *, scheduled: bool
) -> Unsigned:
    """The report of these facts."""
    sections = sections_of(facts)
    statement = {
        "v": FORM,
        "id": report_id,
        "time_ms": facts.made_ms,
        "nonce": nonce,
        "scheduled": scheduled,
        "product": f"intramural {__version__}",
        "log": {"size": facts.log.size, "root": facts.log.root},
        "colour": worst(found),
        "findings": [
            {"code": each.code, "topic": each.topic, "colour": each.colour, "says": each.says} for each in found
        ],
        "sections": {name: hashed(section) for name, section in sections.items()},
    }
    return Unsigned(statement, sections)


def sections_of(facts: f.Facts) -> dict[str, Any]:
    """The facts as JSON, section by section."""
    found = {name: {part: plain(getattr(facts, part)) for part in parts} for name, parts in SECTIONS.items()}
    software = found["software"]["software"]
    bill = software.pop("bill", None) if isinstance(software, dict) else None
    found[BILL] = json.loads(bill) if isinstance(bill, str) else bill or plain(f.NotSeen("no software was seen"))
    return found


def hashed(section: Any) -> str:
    """SHA-256 of a section's canonical JSON, in hexadecimal."""
    return hashlib.sha256(canonical(section).encode("ascii")).hexdigest()


def enveloped(unsigned: Unsigned, signature: str, checkpoint: str, public_keys: Sequence[str], recorded: str) -> bytes:
    """What is handed out: one line of canonical JSON, so that there is one spelling of it. `recorded`: the proof that
    the log has it."""
    whole = {
        "object": KIND,
        "statement": unsigned.statement,
        "signature": signature,
        "checkpoint": checkpoint,
        "public_keys": list(public_keys),
        "recorded": recorded,
        "sections": unsigned.sections,
    }
    return canonical(whole).encode("ascii") + b"\n"


def plain(value: Any) -> Any:
    """Facts as JSON; what was not seen is `{"not_seen": why}`."""
    if isinstance(value, f.NotSeen):
        return {"not_seen": value.reason}
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: plain(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, tuple | list):
        return [plain(each) for each in value]
    if isinstance(value, Mapping):
        return {str(name): plain(each) for name, each in value.items()}
    return value
