"""Checkpoints held outside: by a folder, a witness, an authority; and what they tell of a history written anew."""

import base64
import hashlib
import json
import socket
import xml.etree.ElementTree as ET
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest
from tests import databases
from tests.audit.settable_clock import SettableClock
from tests.direct import direct
from tests.verifier.authority import Authority
from tests.verifier.conftest import ADA, AUDITOR
from tests.verifier.standing import Standing

from intramural.app import front
from intramural.audit import (
    STALE_MS,
    Anchor,
    AuditLog,
    CosignerKey,
    Event,
    VerifierKey,
    anchored,
    anchors_of,
    keys,
    witness_signers,
)
from intramural.core.config import AnchorsConfig, AuditConfig
from intramural.core.errors import IntramuralError, Misasked, Refused
from intramural.http.witness import Witness
from intramural.services.anchor_web import posting
from intramural.services.anchoring import Anchoring, picture
from intramural.services.gate import Gate
from intramural.services.proofs import Proofs
from intramural.storage import Database

NAME = "office.example/witness"
VECTORS = json.loads((Path(__file__).parent / "vectors" / "witness.json").read_text("utf-8"))


# how it stands --------------------------------------------------------------------------------------------------------

FOLDER = Anchor("folder", "/media/stick")


@pytest.mark.parametrize(
    ("anchors", "newest_ms", "colour"),
    [
        ((), None, "amber"),
        ((), 1, "amber"),
        ((FOLDER,), None, "red"),
        ((FOLDER,), 10**9 - STALE_MS, "green"),
        ((FOLDER,), 10**9 - STALE_MS - 1, "red"),
        ((FOLDER,), 10**9, "green"),
    ],
)
def test_in_which_colour_it_stands(anchors: tuple[Anchor, ...], newest_ms: int | None, colour: str) -> None:
    assert anchored(anchors, newest_ms, 10**9).colour == colour
    assert anchored(anchors, newest_ms, 10**9, disputed=True).colour == "red"
    if anchors:
        age_s = None if newest_ms is None else (10**9 - newest_ms) // 1000
        assert anchored(anchors, newest_ms, 10**9).age_s == age_s
        assert anchored(anchors, newest_ms, 10**9, disputed=True).age_s == age_s


@pytest.mark.parametrize(
    "config",
    [
        AnchorsConfig(folders=("stick",)),
        AnchorsConfig(witnesses=("https://w.example",)),
        AnchorsConfig(witnesses=("https://w.example w+00000000+AAAA",)),
        AnchorsConfig(witnesses=("ftp://w.example w+1+2",)),
        AnchorsConfig(stampers=("https://t.example/",)),
        AnchorsConfig(stampers=("https://t.example/?a=b /root.pem",)),
    ],
)
def test_what_names_no_anchor_is_an_error(config: AnchorsConfig) -> None:
    with pytest.raises(Misasked) as refusal:
        anchors_of(config)
    assert refusal.value.code == "bad_setting" and "anchors." in refusal.value.message


# the witness ----------------------------------------------------------------------------------------------------------


def witness(folder: Path, *logs: VerifierKey) -> Witness:
    folder.mkdir(exist_ok=True)
    return Witness(folder, {key.name: key for key in logs}, witness_signers(folder, NAME), SettableClock())


async def test_a_witness_answers_as_published(tmp_path: Path) -> None:
    """The requests that another implementation is tested with, in turn."""
    key = VerifierKey(VECTORS["origin"], bytes.fromhex(VECTORS["public"]))
    transport = httpx.ASGITransport(witness(tmp_path / "witness", key).application())
    async with httpx.AsyncClient(transport=transport, base_url="http://witness") as client:
        for each in VECTORS["requests"]:
            answer = await client.post("/add-checkpoint", content=each["body"].encode())
            if "invalid signature" in each["about"]:  # and its base64 has spare bits: refused as no note at all
                assert answer.status_code == 400
                each = each | {"body": each["body"].replace("6gx=", "6go=").replace("UgIom2Vb", "UgIom3Vb")}
                answer = await client.post("/add-checkpoint", content=each["body"].encode())
            assert answer.status_code == each["status"], each["about"]
            assert answer.text == each.get("answer", answer.text)
            if answer.status_code == 200:
                note = each["body"].partition("\n\n")[2] + answer.text
                for signer in witness_signers(tmp_path / "witness", NAME):
                    assert signer.key.time_of(note)
            if answer.status_code == 409:
                assert answer.headers["content-type"].startswith("text/x.tlog.size")
        held = await client.get(f"/{hashlib.sha256(VECTORS['origin'].encode()).hexdigest()}/checkpoint")
        assert held.text.split("\n")[1] == "5" and held.text.count("—") == 3
        assert (await client.get("/none/checkpoint")).status_code == 404
        assert (await client.post("/add-checkpoint", content=b"old 1\n" * 20_000)).status_code == 413
        for body in (
            b"",
            b"old -1\n\nx",
            b"old 01\n\n" + note.encode(),
            b"\xff\n\n",
            b"old 5\nAAAA\n\n" + note.encode(),
        ):
            assert (await client.post("/add-checkpoint", content=body)).status_code == 400


@asynccontextmanager
async def listening(application: Any) -> AsyncIterator[str]:
    listener = socket.create_server(("127.0.0.1", 0))
    async with front.server(application).running(listener):
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    listener.close()


# anchoring ------------------------------------------------------------------------------------------------------------


@dataclass
class Place:
    """A log, and what is outside of it."""

    folder: Path
    db: Database
    log: AuditLog
    clock: SettableClock
    stick: Path

    def anchoring(self, *anchors: Anchor, allow_network: bool = True) -> Anchoring:
        post = posting(direct, allow_network=allow_network, ca_file=None)
        return Anchoring(Gate(self.log), self.log, self.clock, anchors, self.folder / "anchors", 6, post)

    async def written(self, count: int) -> None:
        for number in range(count):
            await self.log.record(Event.CHAT_READ, ADA, request_id=f"r{number}")


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    db = await databases.opened(tmp_path / "intramural.db")
    clock = SettableClock()
    log = await AuditLog.open(db, tmp_path / "secrets", AuditConfig(), clock)
    (tmp_path / "stick").mkdir()
    yield Place(tmp_path, db, log, clock, tmp_path / "stick")
    await log.close()
    await db.close()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tsa") / "authority")


@pytest.fixture
def stamping(authority: Authority) -> Iterator[str]:
    with authority.serving() as address:
        yield address


async def export(place: Place) -> Path:
    lines = await Proofs(Gate(place.log), place.log).log(AUDITOR, 0, 2**45)
    file = place.folder / "export.jsonl"
    file.write_bytes(b"".join([line async for line in lines]))
    return file


async def test_every_kind_of_anchor_and_a_stranger_who_checks_against_them(
    place: Place, authority: Authority, stamping: str, standing: Standing
) -> None:
    await place.written(5)
    application = witness(place.folder / "witness", place.log.verifier).application()
    signers = witness_signers(place.folder / "witness", NAME)
    async with listening(application) as address:
        anchoring = place.anchoring(
            Anchor("folder", str(place.stick)),
            Anchor("witness", address, signers[1].key),
            Anchor("stamp", stamping, roots=authority.root),
        )
        assert (await anchoring.standing()).colour == "red"
        for _ in range(2):  # the second round proves to each that the log went on
            outcomes = await anchoring.now(AUDITOR)
            assert [each.error for each in outcomes] == [None, None, None]
            await place.written(3)
    assert (await anchoring.standing()).colour == "green"
    events = await place.log.entries(event=Event.AUDIT_ANCHORED)
    assert sorted(each.facts["kind"] for each in events) == ["folder", "folder", "stamp", "stamp", "witness", "witness"]
    assert {each.target.partition(":")[0] for each in events} == {"folder", "witness", "stamp"}

    held = sorted(each.name for each in place.stick.iterdir())
    assert len(held) == 8 and sum(name.endswith(".tsr") for name in held) == 2
    given = ["--key", str(place.log.verifier), "--key", str(place.log.second_key), "--held", place.stick]
    given += [f"--witness-key={each.key}" for each in signers] + ["--stamp-root", authority.root]
    found = standing.run("log", await export(place), *given)
    assert found.status == 0, found.text
    assert sorted(found.outcomes()) == [
        *[("holds", "held"), ("holds", "log")], *[("holds", "stamp")] * 2, *[("holds", "witness")] * 4
    ]  # fmt: skip


async def test_a_witness_or_a_stamp_that_was_asked_for_and_is_not_there_is_said(
    place: Place, authority: Authority, standing: Standing
) -> None:
    await place.written(3)
    assert (await place.anchoring(Anchor("folder", str(place.stick))).now(AUDITOR))[0].error is None
    key = witness_signers(place.folder, NAME)[0].key
    given = ["--key", str(place.log.verifier), "--held", place.stick]
    file = await export(place)
    for more, missing in ((["--witness-key", str(key)], "witness"), (["--stamp-root", authority.root], "stamp")):
        found = standing.run("log", file, *given, *more)
        assert found.status == 3 and ("not checked", missing) in found.outcomes()


async def test_the_clock_makes_it_red_and_an_anchor_green_again(place: Place) -> None:
    anchoring = place.anchoring(Anchor("folder", str(place.stick)))
    await anchoring.look()
    assert (await anchoring.standing()).colour == "green"
    size = len(list(place.stick.iterdir()))
    place.clock.offset_s += 5 * 3600
    await anchoring.look()  # not yet time
    assert len(list(place.stick.iterdir())) == size
    place.clock.offset_s += 20 * 3600
    assert (await anchoring.standing()).colour == "red"
    await anchoring.look()
    assert (await anchoring.standing()).colour == "green" and len(list(place.stick.iterdir())) == size + 1


async def test_a_clock_that_was_ahead_does_not_keep_anchors_waiting(place: Place) -> None:
    place.clock.offset_s = 400 * 86_400
    anchoring = place.anchoring(Anchor("folder", str(place.stick)))
    await anchoring.look()
    place.clock.offset_s = 0
    assert (await anchoring.standing()).colour == "red", "nobody knows how old it is"
    for each in (anchoring, place.anchoring(Anchor("folder", str(place.stick)))):  # also after another start
        size = len(list(place.stick.iterdir()))
        await each.look()
        assert (await each.standing()).colour == "green"
        await each.look()  # not yet time
        assert len(list(place.stick.iterdir())) - size in (0, 1)
    assert len(list(place.stick.iterdir())) == 2


async def test_a_medium_that_is_not_there_is_one_event_until_it_is_back(place: Place) -> None:
    place.stick.rmdir()
    anchoring = place.anchoring(Anchor("folder", str(place.stick)))
    for _ in range(3):
        (outcome,) = await anchoring.now(AUDITOR)
        assert outcome.error is not None and outcome.error.code == "anchor_unreachable"
    assert len(await place.log.entries(event=Event.AUDIT_ANCHOR_FAILED)) == 1
    assert not place.stick.exists()  # it is not made here: it would be on this machine's disk
    place.stick.mkdir()
    (outcome,) = await anchoring.now(AUDITOR)
    assert outcome.error is None
    place.stick.joinpath("junk.txt").write_text("?")
    place.stick.joinpath("999999999999.txt").write_bytes(b"\xff not a note")
    (outcome,) = await anchoring.now(AUDITOR)
    assert outcome.error is None


async def test_a_history_written_anew_with_the_log_s_own_key_is_refused_by_folder_and_witness(
    place: Place, tmp_path: Path
) -> None:
    await place.written(6)
    application = witness(place.folder / "witness", place.log.verifier).application()
    key = witness_signers(place.folder / "witness", NAME)[0].key
    async with listening(application) as address:
        anchors = Anchor("folder", str(place.stick)), Anchor("witness", address, key)
        assert all(each.error is None for each in await place.anchoring(*anchors).now(AUDITOR))
        for count in (2, 40):  # a shorter history, and a longer one
            other = tmp_path / f"other{count}"
            other.mkdir()
            (other / "secrets").mkdir(mode=0o700)
            for file in (place.folder / "secrets").iterdir():
                (other / "secrets" / file.name).write_bytes(file.read_bytes())
                (other / "secrets" / file.name).chmod(0o600)
            db = await databases.opened(other / "intramural.db")
            log = await AuditLog.open(db, other / "secrets", AuditConfig(), place.clock)
            lie = Place(other, db, log, place.clock, place.stick)
            await lie.written(count)
            outcomes = await lie.anchoring(*anchors).now(AUDITOR)
            assert [each.error and each.error.code for each in outcomes] == ["history_rewritten"] * 2
            await log.record(Event.AUDIT_ANCHORED, ADA, target="stamp:elsewhere")
            found = await lie.anchoring(*anchors).standing()  # also in a process that did not see it
            assert found.colour == "red" and "does not go on" in found.why
            await log.close()
            await db.close()


async def test_who_answers_wrongly_is_not_believed(place: Place) -> None:
    await place.written(2)
    stranger = witness_signers(place.folder, "else.example/witness")[0].key

    async def code(anchoring: Anchoring) -> str | None:
        (outcome,) = await anchoring.now(AUDITOR)
        return outcome.error and outcome.error.code

    async with listening(witness(place.folder / "witness", place.log.verifier).application()) as address:
        assert await code(place.anchoring(Anchor("witness", address, stranger))) == "audit_note_unsigned"
    async with listening(witness(place.folder / "other").application()) as address:
        assert await code(place.anchoring(Anchor("witness", address, stranger))) == "anchor_refused"
    assert await code(place.anchoring(Anchor("witness", address, stranger))) == "source_unreachable"
    shut = place.anchoring(Anchor("witness", "https://w.example", stranger), allow_network=False)
    assert await code(shut) == "network_off"


async def test_who_may(place: Place) -> None:
    anchoring = place.anchoring(Anchor("folder", str(place.stick)))
    for act in (anchoring.now, anchoring.shown, anchoring.paper):
        with pytest.raises(Refused):
            await act(ADA)
    assert not list(place.stick.iterdir())


# paper ----------------------------------------------------------------------------------------------------------------


async def test_a_checkpoint_on_paper_can_be_scanned_and_typed(place: Place) -> None:
    await place.written(2)
    svg = (await place.anchoring().paper(AUDITOR)).decode()
    note = place.log.plain_checkpoint()
    root = ET.fromstring(svg)
    texts = [each.text or "" for each in root.iter("{http://www.w3.org/2000/svg}text")]
    typed = "\n".join(texts) + "\n"
    printed = place.log.verifier.checkpoint_of(typed)
    assert printed.size == place.log.size - 1 and printed.size == int(typed.split("\n")[1])
    assert note.count("\n") == typed.count("\n")
    assert picture(typed) == svg.encode()
    (event,) = await place.log.entries(event=Event.AUDIT_EXPORTED)
    assert event.facts == {"form": "paper", "size": printed.size}


# the second key -------------------------------------------------------------------------------------------------------


async def test_a_log_of_an_older_version_gets_its_second_key_at_a_start_and_says_so(tmp_path: Path) -> None:
    db = await databases.opened(tmp_path / "intramural.db")
    clock, secrets = SettableClock(), tmp_path / "secrets"
    log = await AuditLog.open(db, secrets, AuditConfig(), clock)
    await log.record(Event.SERVICE_STARTED, ADA)
    await log.close()
    (secrets / keys.SECOND_KEY_FILE).unlink()
    for _ in range(2):
        log = await AuditLog.open(db, secrets, AuditConfig(), clock)
        (event,) = await log.entries(event=Event.AUDIT_KEY_MADE)
        assert log.second_key is not None and event.facts["key"] == log.second_key.fingerprint
        assert log.second_key.time_of(log.checkpoint()) == 0
        assert log.verifier.checkpoint_of(log.checkpoint()).size == log.size == 2
        assert (secrets / keys.SECOND_KEY_FILE).stat().st_mode & 0o777 == 0o600
        await log.close()
    (secrets / keys.SECOND_KEY_FILE).write_bytes((secrets / keys.SIGNING_KEY_FILE).read_bytes())
    with pytest.raises(IntramuralError, match="no ML-DSA-44 key"):
        await AuditLog.open(db, secrets, AuditConfig(), clock)
    await db.close()


def test_keys_of_witnesses_are_read_strictly() -> None:
    public = bytes(range(32))
    digest = hashlib.sha256(b"w\n\x04" + public).hexdigest()[:8]
    good = f"w+{digest}+{base64.b64encode(bytes([4]) + public).decode()}"
    assert str(CosignerKey.parse(good)) == good
    for bad in (
        "",
        good[:-1],
        good.replace("w+", "+", 1),
        good.replace(digest, "00000000"),
        good.replace("+B", "+A", 1),
    ):
        with pytest.raises(Misasked):
            CosignerKey.parse(bad)


def test_the_verifier_knows_the_same_events(verifier: ModuleType) -> None:
    from intramural.services import receipts

    assert set(verifier._ASKED) == receipts._ASKED and set(verifier._ANSWERED) == receipts._ANSWERED
