"""Where checkpoints are held outside, and whether lately enough. Pure.

What a log cannot prove alone (docs/audit.md) it proves to whoever held an older checkpoint. An anchor is a place that
holds them and that the administrator of this machine cannot change: a folder on another medium, a witness that signs
them, an authority that stamps them with the time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from intramural.audit.cosignature import CosignerKey
from intramural.core.config import AnchorsConfig
from intramural.core.errors import IntramuralError, Misasked

Kind = Literal["folder", "witness", "stamp"]
Colour = Literal["green", "amber", "red"]

#: The code of an error: an anchor holds a checkpoint that is not of this history.
REWRITTEN = "history_rewritten"
#: An anchor that is older says too little: what was written since could be rewritten.
STALE_MS = 24 * 3_600_000
#: Clocks are set by seconds; what is dated further ahead of now was written while the clock was wrong.
_AHEAD_MS = 60_000


@dataclass(frozen=True, slots=True)
class Anchor:
    """One place. `where`: a path or an address; `key`: a witness's; `roots`: certificates under which stamps count."""

    kind: Kind
    where: str
    key: CosignerKey | None = None
    roots: Path | None = None

    @property
    def name(self) -> str:
        """As the log and people see it."""
        return f"{self.kind}:{self.where}"


@dataclass(frozen=True, slots=True)
class Standing:
    """How it stands with the anchors, in a colour and a sentence. `age_s`: how long ago a checkpoint was put in one,
    in seconds; None: never."""

    colour: Colour
    why: str
    age_s: int | None = None


def anchors_of(config: AnchorsConfig) -> tuple[Anchor, ...]:
    """What the settings name. Raises Misasked(`bad_setting`)."""
    folders = [Anchor("folder", str(_absolute(each, "anchors.folders"))) for each in config.folders]
    return (*folders, *map(_witness, config.witnesses), *map(_stamper, config.stampers))


def _witness(text: str) -> Anchor:
    address, _, key = text.partition(" ")
    try:
        return Anchor("witness", _address(address, "anchors.witnesses"), CosignerKey.parse(key.strip()))
    except IntramuralError as error:
        raise Misasked("bad_setting", f"anchors.witnesses: {error.message}", "Write `address key`.") from None


def _stamper(text: str) -> Anchor:
    address, _, file = text.partition(" ")
    roots = _absolute(file.strip(), "anchors.stampers")
    return Anchor("stamp", _address(address, "anchors.stampers"), roots=roots)


def _address(text: str, setting: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment or parts.username:
        raise Misasked("bad_setting", f"{setting}: {text[:80]!r} is no address.", "It begins with https://.")
    return text.rstrip("/")


def _absolute(text: str, setting: str) -> Path:
    path = Path(text)
    if not path.is_absolute():
        raise Misasked("bad_setting", f"{setting}: {text[:80]!r} is no whole path.", "It begins with a /.")
    return path


def anchored(anchors: Sequence[Anchor], newest_ms: int | None, now_ms: int, *, disputed: bool = False) -> Standing:
    """How it stands. `newest_ms`: when a checkpoint was last put in one of them; None: never. `disputed`: an anchor
    holds another history.

    | anchors named             | newest              | colour |
    |---------------------------|---------------------|--------|
    | one holds another history |                     | red    |
    | none                      |                     | amber  |
    | some                      | never, or over 24 h | red    |
    | some                      | from the future     | red    |
    | some                      | at most 24 h old    | green  |
    """
    age_s = None if newest_ms is None else max(0, now_ms - newest_ms) // 1000
    if disputed:
        why = "An anchor holds checkpoints that this log does not go on from; the log says which one."
        return Standing("red", why, age_s)
    if not anchors:
        return Standing("amber", "No anchor is named: nobody outside holds checkpoints of the log (anchors.*).")
    if newest_ms is None:
        return Standing("red", "No checkpoint has been put in an anchor yet.")
    hours = (now_ms - newest_ms) // 3_600_000
    if newest_ms - now_ms > _AHEAD_MS:
        return Standing("red", "The newest checkpoint that is held outside is dated later than now: was the clock set?")
    if now_ms - newest_ms > STALE_MS:
        return Standing("red", f"The newest checkpoint that is held outside is {hours} h old; it may be 24.", age_s)
    return Standing("green", f"A checkpoint was put outside {hours} h ago.", age_s)
