"""Putting checkpoints where this machine's administrator cannot change them, and saying how long ago that was.

What witnesses and authorities gave is kept in `anchors/` of the data directory, as files that `verify_intramural.py`
takes for `--held`; folders get a copy of these. Each is an event; a place that fails is one too, once until it works.
"""

import asyncio
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from xml.sax.saxutils import escape

from intramural.access import Action
from intramural.audit import (
    REWRITTEN,
    Anchor,
    AuditLog,
    Checkpoint,
    Event,
    Fact,
    Standing,
    VerifierKey,
    Wanted,
    anchored,
    stamps,
)
from intramural.audit.merkle import verify_consistency
from intramural.core.actor import SYSTEM, Actor
from intramural.core.clock import Clock, is_due
from intramural.core.durable import ORDINARY, write_whole
from intramural.core.errors import Broken, IntramuralError, Unavailable, Untrusted
from intramural.core.rounds import Rounds
from intramural.services.anchor_web import Post
from intramural.services.gate import Gate
from intramural.services.proofs import consistency_body

_LOOK_EVERY_S = 300.0
#: A command that opens the house for a moment is not to begin a round.
_FIRST_LOOK_S = 15.0
_HOUR_MS = 3_600_000
#: A folder that holds more is not one of ours.
_MOST_FILES = 100_000
#: Failures in the log that are looked at for one of them.
_LOOKED_AT = 100
#: Points for each square of a QR code: some 6 cm on paper.
_SCALE = 4


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one anchor. `size`: how many entries the checkpoint covers; `error`: why there is none."""

    anchor: str
    size: int | None
    error: IntramuralError | None = None


@dataclass(frozen=True, slots=True)
class Kept:
    """What an anchor gave: files by name, for `anchors/` and the folders."""

    size: int
    files: tuple[tuple[str, bytes], ...]


class Anchoring:
    """Puts checkpoints into every anchor in turn, now and every few hours."""

    def __init__(
        self,
        gate: Gate,
        audit: AuditLog,
        clock: Clock,
        anchors: Sequence[Anchor],
        folder: Path,
        every_hours: int,
        post: Post,
    ) -> None:
        self._gate = gate
        self._audit = audit
        self._clock = clock
        self._anchors = sorted(anchors, key=lambda each: each.kind == "folder")  # folders get what the others gave
        self._folder = folder
        self._every_ms = every_hours * _HOUR_MS
        self._post = post
        self._failing: set[str] = set()
        self._begun_ms = 0
        self._turn = asyncio.Lock()
        self._rounds = Rounds("anchoring", self.look, _LOOK_EVERY_S, first_s=_FIRST_LOOK_S)

    @property
    def named(self) -> tuple[str, ...]:
        """What the settings name."""
        return tuple(each.name for each in self._anchors)

    def open(self) -> None:
        """Begin to look whether it is time."""
        if self._anchors:
            self._rounds.open()

    async def close(self) -> None:
        """Stop looking."""
        await self._rounds.close()

    async def standing(self) -> Standing:
        """How it stands."""
        return anchored(self._anchors, await self.newest_ms(), self._now_ms(), disputed=await self._disputed())

    async def shown(self, actor: Actor) -> Standing:
        """How it stands, to whoever may look into the log."""
        await self._gate.require(actor, Action.AUDIT_READ, target="audit:anchors")
        return await self.standing()

    async def paper(self, actor: Actor) -> bytes:
        """The newest checkpoint for paper: an SVG with its text, and a QR code of that text. Nobody can see here that
        it was printed, so it does not count in `standing`."""
        await self._gate.require(actor, Action.AUDIT_READ, target="audit:anchors")
        size, note = self._audit.size, self._audit.plain_checkpoint()
        facts: dict[str, Fact] = {"form": "paper", "size": size}
        await self._audit.record(Event.AUDIT_EXPORTED, actor, target="audit:checkpoint", facts=facts)
        return await asyncio.to_thread(picture, note)

    async def now(self, actor: Actor) -> list[Outcome]:
        """Put the newest checkpoint into every anchor, because somebody asked."""
        await self._gate.require(actor, Action.AUDIT_VERIFY, target="audit:anchors")
        return await self._round(actor)

    async def look(self) -> None:
        """Put it there if it is time."""
        last_ms = self._begun_ms or await self.newest_ms() or 0
        if is_due(last_ms, self._now_ms(), _HOUR_MS if self._failing else self._every_ms):
            await self._round(SYSTEM)

    async def _round(self, actor: Actor) -> list[Outcome]:
        async with self._turn:
            self._begun_ms = self._now_ms()
            return [await self._one(actor, each) for each in self._anchors]

    async def _one(self, actor: Actor, anchor: Anchor) -> Outcome:
        try:
            size = await self._put(anchor)
        except IntramuralError as error:
            if anchor.name not in self._failing:
                why: dict[str, Fact] = {"kind": anchor.kind, "error": error.code, "reason": error.message}
                event = Event.AUDIT_ANCHOR_FAILED
                await self._audit.record(event, actor, target=anchor.name, outcome="failed", facts=why)
                self._failing.add(anchor.name)
            return Outcome(anchor.name, None, error)
        self._failing.discard(anchor.name)
        facts: dict[str, Fact] = {"kind": anchor.kind, "size": size}
        await self._audit.record(Event.AUDIT_ANCHORED, actor, target=anchor.name, facts=facts)
        return Outcome(anchor.name, size)

    async def _put(self, anchor: Anchor) -> int:
        """Raises Unavailable(`anchor_unreachable`) and what each kind does."""
        try:
            if anchor.kind == "folder":
                return await self._into_folder(Path(anchor.where))
            kept = await (self._cosigned(anchor) if anchor.kind == "witness" else self._stamped(anchor))
            await asyncio.to_thread(_write_all, self._folder, kept.files)
        except OSError as error:
            message = f"A file cannot be read or written: {error.filename or anchor.where}: {error.strerror or error}."
            raise Unavailable("anchor_unreachable", message, "Is the medium there, and not full?") from error
        return kept.size

    # a folder ---------------------------------------------------------------------------------------------------------

    async def _into_folder(self, folder: Path) -> int:
        """What is there already must be of this history; then the newest checkpoint and what others gave come beside.

        Raises Untrusted(`history_rewritten`), OSError.
        """
        size, note = self._audit.size, self._audit.checkpoint()
        there = await asyncio.to_thread(_newest_in, folder, self._audit.verifier)
        if there is not None:
            await self._require_beginning(there)
        own = (f"{size:012d}.txt", note.encode())
        await asyncio.to_thread(_copy_all, self._folder, folder)
        await asyncio.to_thread(_write_all, folder, (own,), make=False)
        return size

    async def _require_beginning(self, held: Checkpoint) -> None:
        """Raises Untrusted(`history_rewritten`) unless the log now goes on from what was held."""
        size, note = self._audit.size, self._audit.checkpoint()
        now = self._audit.verifier.checkpoint_of(note)
        proof = await self._audit.prove_consistency(held.size, size) if 0 < held.size <= size else []
        if held.size and not verify_consistency(held.size, held.root, now.size, now.root, proof):
            raise _rewritten(f"The anchor holds a checkpoint of {held.size} entries that this log does not go on from.")

    # a witness --------------------------------------------------------------------------------------------------------

    async def _cosigned(self, anchor: Anchor) -> Kept:
        """The newest checkpoint with the witness's signature (c2sp.org/tlog-witness).

        Raises Untrusted(`history_rewritten`|`audit_note_unsigned`), Broken(`anchor_refused`), and what asking raises.
        """
        assert anchor.key is not None
        old = 0
        for _ in range(2):  # a witness that knows the log answers first how much of it it knows
            body = await consistency_body(self._audit, old)
            replied = await self._post(f"{anchor.where}/add-checkpoint", body.encode(), "text/plain")
            if replied.status != 409:
                break
            old = _size_in(replied.body)
            if old > self._audit.size:
                raise _rewritten(f"The witness has signed {old} entries of this log, and it has {self._audit.size}.")
        if replied.status == 422:
            raise _rewritten("The witness says that the log does not go on from what it signed before.")
        if replied.status != 200:
            said = replied.body[:200].decode("utf-8", "replace").strip()
            message = f"The witness answers {replied.status}: {said}"
            raise Broken("anchor_refused", message, "Does it have this log's public key? `intramural audit key`")
        note = body.partition("\n\n")[2] + replied.body.decode("utf-8", "replace")
        checkpoint = self._audit.verifier.checkpoint_of(note)
        if not anchor.key.time_of(note):
            raise Untrusted("audit_note_unsigned", f"The witness did not sign with the key of {anchor.key.name}.")
        return Kept(checkpoint.size, ((f"{checkpoint.size:012d}-{_host(anchor)}.txt", note.encode()),))

    # an authority -----------------------------------------------------------------------------------------------------

    async def _stamped(self, anchor: Anchor) -> Kept:
        """The newest checkpoint and a time stamp of it. Raises Untrusted(`stamp_wrong`), Broken(`anchor_refused`),
        OSError."""
        assert anchor.roots is not None
        note = self._audit.checkpoint()
        size = self._audit.verifier.checkpoint_of(note).size
        request = stamps.request_for(note.encode())
        replied = await self._post(anchor.where, request.as_bytes(), stamps.QUERY_TYPE)
        if replied.status != 200 or len(replied.body) > stamps.MAX_ANSWER_BYTES:
            raise Broken("anchor_refused", f"The authority answers {replied.status}.", "Is it the right address?")
        roots = await asyncio.to_thread(anchor.roots.read_bytes)
        stamps.checked(request, replied.body, note.encode(), roots)
        stem = f"{size:012d}-{_host(anchor)}"
        return Kept(size, ((f"{stem}.txt", note.encode()), (f"{stem}.tsr", replied.body)))

    async def _disputed(self) -> bool:
        """Whether an anchor holds another history than this log's, by the newest that the log has of it."""
        for failed in await self._audit.entries(limit=_LOOKED_AT, event=Event.AUDIT_ANCHOR_FAILED):
            if failed.facts.get("error") == REWRITTEN and failed.target in self.named:
                wanted = Wanted(event=str(Event.AUDIT_ANCHORED), target=failed.target, from_ms=failed.time_ms)
                if not (await self._audit.search(wanted, 1)).entries:
                    return True
        return False

    async def newest_ms(self) -> int | None:
        """When a checkpoint was last put into an anchor; None: never."""
        found = await self._audit.entries(limit=1, event=Event.AUDIT_ANCHORED)
        return found[0].time_ms if found else None

    def _now_ms(self) -> int:
        return int(self._clock.now_s() * 1000)


def picture(note: str) -> bytes:
    """A note as an SVG: its QR code, and below it its lines as text, so that it can be typed as well."""
    import segno  # only who prints waits for it

    code = segno.make(note, error="m", micro=False)
    width, height = code.symbol_size(scale=_SCALE, border=4)
    body = code.svg_inline(scale=_SCALE, border=4, light="#fff")
    lines = note.rstrip("\n").split("\n")
    texts = "".join(
        f'<text x="16" y="{height + 20 + 16 * number}">{escape(line)}</text>' for number, line in enumerate(lines)
    )
    whole = max(width, 32 + 7 * max(map(len, lines)))
    style = 'font-family="monospace" font-size="11" fill="#000"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{whole}" height="{height + 24 + 16 * len(lines)}">'
    return f'{head}<rect width="100%" height="100%" fill="#fff"/>{body}<g {style}>{texts}</g></svg>\n'.encode()


def _host(anchor: Anchor) -> str:
    parts = urlsplit(anchor.where)
    name = f"{parts.hostname}-{parts.port}" if parts.port else str(parts.hostname)
    return "".join(each if each.isalnum() or each in "-." else "_" for each in name)


def _size_in(body: bytes) -> int:
    text = body.decode("ascii", "replace").removesuffix("\n")
    if not text.isdecimal() or not text.isascii() or len(text) > 18:
        raise Broken("anchor_refused", "The witness does not answer as one should.", "Is it the right address?")
    return int(text)


def _rewritten(what: str) -> Untrusted:
    hint = "Keep everything as evidence: run `intramural audit verify --held` with what the anchor has."
    return Untrusted(REWRITTEN, what, hint)


# Blocking from here on.


def _newest_in(folder: Path, key: VerifierKey) -> Checkpoint | None:
    """The largest checkpoint of this log in a folder. Raises OSError; what is not one is passed over."""
    for file in sorted(_names(folder), reverse=True):
        with suppress(IntramuralError, UnicodeDecodeError):
            return key.checkpoint_of((folder / file).read_text("utf-8"))
    return None


def _names(folder: Path) -> list[str]:
    found = [each.name for each in os.scandir(folder) if each.name.endswith(".txt") and each.name[:12].isdecimal()]
    return found[:_MOST_FILES]


def _copy_all(source: Path, target: Path) -> None:
    """What `target` has not yet."""
    if source.is_dir():
        there = {each.name for each in target.iterdir()}
        missing = {each.name for each in source.iterdir() if not each.name.startswith(".")} - there
        _write_all(target, [(name, (source / name).read_bytes()) for name in sorted(missing)], make=False)


def _write_all(folder: Path, files: Sequence[tuple[str, bytes]], *, make: bool = True) -> None:
    """Each durable, whole or not at all. A folder on another medium is not made: without it, it would be this one's."""
    if make:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name, data in files:
        write_whole(folder / name, data, mode=ORDINARY)
