"""Attestations are made when somebody asks or when it is time, written into the log, and so many of them kept."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
from tests import databases
from tests.audit.settable_clock import SettableClock
from tests.services.test_attestation import RIGHT
from tests.verifier.standing import loaded

from intramural.audit import AuditLog
from intramural.core.actor import CONSOLE, Actor
from intramural.core.config import AttestConfig, AuditConfig
from intramural.core.errors import Missing, Refused, Unavailable
from intramural.services.attestation import Attestations, Controls
from intramural.services.attestation import facts as f
from intramural.services.attestation.controlling import reachable
from intramural.services.attestation.gathering import log_of
from intramural.services.gate import Gate

PUPIL = Actor("session", "person_1", "pia", "member", frozenset({"inference", "page"}), "session_1")
HOUR_S = 3600.0


class Desk:
    """One with a log of its own. Facts are those of an installation as it should be; each reading counts."""

    def __init__(self, folder: Path, audit: AuditLog, clock: SettableClock) -> None:
        self.audit, self.clock, self.folder = audit, clock, folder
        self.readings = self.at_once = 0
        config = AttestConfig(every_hours=24, keep=3)
        self.desk = Attestations(Gate(audit), audit, clock, config, folder, Controls(clock), self._facts, serves=True)

    async def _facts(self) -> f.Facts:
        self.readings += 1
        self.at_once += 1
        assert self.at_once == 1, "two at a time"
        await asyncio.sleep(0)
        self.at_once -= 1
        return replace(RIGHT, made_ms=int(self.clock.now_s() * 1000), log=log_of(self.audit))


@pytest_asyncio.fixture
async def there(tmp_path: Path) -> AsyncIterator[Desk]:
    clock = SettableClock()
    db = await databases.opened(tmp_path / "intramural.db")
    audit = await AuditLog.open(db, tmp_path / "secrets", AuditConfig(), clock)
    yield Desk(tmp_path / "attestations", audit, clock)
    await audit.close()
    await db.close()


@pytest.mark.asyncio
async def test_what_is_made_is_in_the_log_and_a_stranger_checks_it(there: Desk) -> None:
    data = await there.desk.make(CONSOLE, "n1")
    (entry,) = await there.audit.entries(event="attestation.made")
    said = json.loads(data)["statement"]
    assert entry.target == f"attestation:{said['id']}"
    assert (entry.facts["nonce"], entry.facts["colour"], entry.facts["reds"]) == ("n1", "green", 0)
    verifier = loaded()
    keys = [str(there.audit.verifier), str(there.audit.second_key)]
    trust = verifier.Trust(tuple(map(verifier.Key.parse, keys)))
    report = verifier.Report()
    verifier.check_attestation(data, trust, report, "n1", 60.0, there.clock.now_s())
    assert report.status == 0
    with pytest.raises(verifier.Wrong, match="not within the time"):
        verifier.check_attestation(data, trust, report, "n1", 60.0, there.clock.now_s() + 61)
    with pytest.raises(verifier.Wrong, match="not within the time"):
        verifier.check_attestation(data, trust, report, "n1", 60.0, there.clock.now_s() - 700)
    whole = json.loads(data)
    for name in ("checkpoint", "recorded", "signature", "sections", "statement", "public_keys", "object"):
        for nonsense in ("\ud800", "", None, 7, [], {}, [["x"]], {"x": None}):
            if name == "sections" and nonsense == {}:
                continue  # all of them may be left out
            spoiled = verifier.canonical(whole | {name: nonsense}).encode() + b"\n"
            with pytest.raises(verifier.Wrong):
                verifier.check_attestation(spoiled, trust, verifier.Report(), None, None, 0)
    assert await there.desk.get(CONSOLE, said["id"]) == data
    assert said["id"] in await there.desk.page(CONSOLE, said["id"])


@pytest.mark.asyncio
async def test_it_is_made_by_itself_when_it_is_time(there: Desk) -> None:
    await there.desk.look()
    await there.desk.look()
    assert there.readings == 1
    there.clock.offset_s = 23 * HOUR_S
    await there.desk.make(CONSOLE)  # one that was asked for counts as well
    there.clock.offset_s = 46 * HOUR_S
    await there.desk.look()
    assert there.readings == 2
    there.clock.offset_s = 47.1 * HOUR_S
    await there.desk.look()
    heads = await there.desk.list(CONSOLE)
    assert [(each.scheduled, each.nonce) for each in heads] == [(True, None), (False, None), (True, None)]
    for hours in (80, 110):
        there.clock.offset_s = hours * HOUR_S
        await there.desk.look()
    assert len(await there.desk.list(CONSOLE)) == 3 and there.readings == 5
    assert len(await there.audit.entries(event="attestation.made")) == 5


@pytest.mark.asyncio
async def test_a_clock_that_was_ahead_keeps_it_from_nothing(there: Desk) -> None:
    there.clock.offset_s = 1000 * HOUR_S
    await there.desk.look()
    there.clock.offset_s = 0
    await there.desk.look()
    await there.desk.look()
    assert there.readings == 2, "the kept one of a time to come says nothing, and each one made counts"


@pytest.mark.asyncio
async def test_two_who_ask_at_once_get_one_each(there: Desk) -> None:
    one, two = await asyncio.gather(there.desk.make(CONSOLE, "n1"), there.desk.make(CONSOLE, "n2"))
    assert one != two and there.readings == 2


@pytest.mark.asyncio
async def test_who_may_not_gets_none(there: Desk) -> None:
    for act in (there.desk.make(PUPIL), there.desk.list(PUPIL), there.desk.get(PUPIL, "att_1")):
        with pytest.raises(Refused):
            await act
    assert there.readings == 0


@pytest.mark.asyncio
@pytest.mark.parametrize("report_id", ["att_1", "../intramural", "att_../x", ""])
async def test_what_is_not_there_is_not_found(there: Desk, report_id: str) -> None:
    (there.folder.parent / "intramural.json").write_text("{}")
    with pytest.raises(Missing) as caught:
        await there.desk.get(CONSOLE, report_id)
    assert caught.value.code == "attestation_not_found"


@pytest.mark.asyncio
async def test_one_that_cannot_be_kept_is_not_handed_out(there: Desk) -> None:
    there.folder.write_text("a file where the folder should be")
    with pytest.raises(Unavailable) as caught:
        await there.desk.make(CONSOLE)
    assert caught.value.code == "attestation_unkept"


def test_where_one_connects_to_reach_what_listens_everywhere() -> None:
    found = {host: reachable(host) for host in ("0.0.0.0", "::", "10.0.0.5", "::1")}
    assert found == {"0.0.0.0": "127.0.0.1", "::": "::1", "10.0.0.5": "10.0.0.5", "::1": "::1"}


def test_only_a_number_that_is_waited_for_counts_as_come() -> None:
    assert not Controls(SettableClock()).arrive("0" * 32)
