"""Reports: what they list, what they mark, that reading and signing are events, and that a missed review shows."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from tests import databases
from tests.audit.settable_clock import SettableClock

from intramural.audit import AuditLog, Entry, Event, Wanted, first_and_newest
from intramural.core.actor import CONSOLE, SCOPES, SYSTEM, Actor
from intramural.core.config import AuditConfig
from intramural.core.errors import Misasked, Refused
from intramural.core.retention import AI_ACT_DAYS
from intramural.services.gate import Gate
from intramural.services.reports import Reports, missed_review
from intramural.services.reviews import BULK_READS, ActivityReview, Disclosures, Known, WorkingHours
from intramural.storage import Database

UTC = ZoneInfo("UTC")
HOURS = WorkingHours.of("07:00-19:00", UTC)
DAY_S = 86_400


def person(name: str, role: str = "member") -> Actor:
    return Actor("person", name, name, role, frozenset(SCOPES), f"session_{name}")  # type: ignore[arg-type]


AUDITOR, MIA, BOB = person("aud", "auditor"), person("mia"), person("bob")


class Desk:
    def __init__(self, db: Database, audit: AuditLog, clock: SettableClock) -> None:
        self.address, self.audit, self.clock = db.address, audit, clock
        self.known = Known("mia")

        async def known(student_id: str) -> Known:
            return replace(self.known, student_id=student_id)

        self.reports = Reports(Gate(audit), audit, clock, HOURS, 30, "1.0", known)

    @property
    def now_ms(self) -> int:
        return int(self.clock.now_s() * 1000) + 1


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    clock = SettableClock()
    db = await databases.opened(tmp_path / "intramural.db")
    audit = await AuditLog.open(db, tmp_path / "secrets", AuditConfig(), clock)
    yield Desk(db, audit, clock)
    await audit.close()
    await db.close()


async def test_an_activity_review_lists_what_is_to_be_looked_at(desk: Desk) -> None:
    log = desk.audit
    await log.record(Event.LOGIN_FAILED, SYSTEM, target="person:mia", outcome="refused")
    await log.record(Event.ACCESS_REFUSED, MIA, outcome="refused", facts={"rule": "role_missing"})
    await log.record(Event.PERSON_CHANGED, CONSOLE, target="person:mia", facts={"role": "auditor"})
    await log.record(Event.BUNDLE_EXPORTED, AUDITOR)
    for _ in range(BULK_READS):
        await log.record(Event.FILE_READ, BOB, target="file:f")
    found = await desk.reports.activity_review(AUDITOR, 0, desk.now_ms + 60_000)
    assert {name: found[name]["number"] for name in ("failed_sign_ins", "refused", "changes", "exports")} == {
        "failed_sign_ins": 1,
        "refused": 1,
        "changes": 1,
        "exports": 1,
    }
    assert [(each["person"], each["number"]) for each in found["bulk_reads"]] == [("bob", BULK_READS)]
    assert found["entries"] == BULK_READS + 5  # with its own reading
    assert found["checkpoint"].startswith("intramural.local/audit")
    assert (await log.entries(event=Event.REPORT_READ))[0].facts["from_ms"] == 0


def entry(time_ms: int, event: str = "chat.asked", **fields: object) -> Entry:
    plain = Entry(0, time_ms, event, "person", "mia", "member", "s", "mia", "", "allowed", None, {}, {}, 0)
    return replace(plain, **fields)  # type: ignore[arg-type]  # a test's own


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def test_odd_hours_are_the_institutions() -> None:
    review = ActivityReview(HOURS)
    for at in ("2026-05-05T06:59:59", "2026-05-05T07:00", "2026-05-05T18:59", "2026-05-05T19:00", "2026-05-09T12:00"):
        review.add(entry(ms(at)))
    review.add(entry(ms("2026-05-05T03:00"), actor_kind="system"))
    assert review.result()["off_hours"] == [{"person": "mia", "username": "mia", "event": "chat.asked", "number": 3}]
    always = ActivityReview(WorkingHours.of("", UTC))
    always.add(entry(ms("2026-05-09T03:00")))
    assert always.result()["off_hours"] == []


def test_emergency_access_and_steps_of_the_clock_are_listed() -> None:
    review = ActivityReview(HOURS)
    review.add(entry(0, Event.BREAKGLASS_OPENED, facts={"reason": "night"}))
    review.add(entry(0, skew_ms=3_600_000))
    found = review.result()
    assert found["emergency_access"]["listed"][0]["facts"] == {"reason": "night"}
    assert found["clock_skew"]["number"] == 1


@pytest.mark.parametrize("text", ["7-19", "19:00-07:00", "a:b-c:d", "07:00", "07:00-25:00"])
def test_hours_that_are_none(text: str) -> None:
    with pytest.raises(Misasked, match="bad_setting"):
        WorkingHours.of(text, UTC)


async def test_signing_off_is_an_event_and_a_missed_review_shows(desk: Desk) -> None:
    await desk.audit.record(Event.SERVICE_STARTED, SYSTEM)
    assert await desk.reports.missed() is None
    desk.clock.offset_s = 31 * DAY_S
    missed = await desk.reports.missed()
    assert missed is not None and "31 days" in missed
    with pytest.raises(Refused):
        await desk.reports.sign_off(MIA, 0, desk.now_ms - 1, "fine")
    with pytest.raises(Misasked, match="bad_period"):
        await desk.reports.sign_off(AUDITOR, 0, desk.now_ms + DAY_S * 1000, "the future")
    await desk.reports.sign_off(AUDITOR, 0, desk.now_ms - 1, "fine")
    assert await desk.reports.missed() is None
    (signed,) = await desk.audit.entries(event=Event.REVIEW_SIGNED)
    assert signed.actor_id == "aud" and "fine" not in str(signed)
    first, newest = await asyncio.to_thread(first_and_newest, desk.address, Event.REVIEW_SIGNED)
    assert (first is not None and newest is not None and newest.facts["to_ms"] == desk.now_ms - 1) or newest.facts
    assert missed_review(None, 10**15, 1) is None


async def test_disclosures_of_a_student_are_all_there_and_exceptions_are_marked(desk: Desk) -> None:
    log, teacher = desk.audit, person("teacher")
    await log.record(Event.CHAT_READ, teacher, target="chat:c", facts={"owner": "mia", "reason": "safeguarding"})
    await log.record(Event.RECEIPT_READ, AUDITOR, target="receipt:r", facts={"owner": "mia"})
    await log.record(Event.PERSON_CHANGED, CONSOLE, target="person:mia")
    await log.record(Event.FILE_READ, MIA, target="file:f", facts={"owner": "mia"})
    await log.record(Event.FILE_READ, BOB, target="file:f", facts={"owner": "bob"})
    found = await desk.reports.disclosures(AUDITOR, "mia")
    listed = [(each["event"], each["interest"], each["exception"]) for each in found["disclosures"]]
    assert listed[0] == ("chat.read", "safeguarding", None)
    assert [event for event, _, _ in listed] == ["chat.read", "receipt.read", "person.changed", "file.read"]
    assert all(exception for _, _, exception in listed[1:]) and found["to_be_recorded"] == 1
    own = await desk.reports.disclosures(MIA, "mia")  # whom it is about may have it
    assert len(own["disclosures"]) == 5  # with the auditor's report itself
    with pytest.raises(Refused):
        await desk.reports.disclosures(BOB, "mia")


async def test_disclosures_are_found_by_the_things_the_requests_and_the_places_of_a_student(desk: Desk) -> None:
    """None of these names the student."""
    log, admin, outsider = desk.audit, person("admin", "administrator"), person("eve")
    desk.known = Known("mia", frozenset({"chat:page"}), frozenset({"workspace_now"}), frozenset({"group_now"}))
    # what the student did is what tells whose a thing was: also of what is gone by now
    await log.record(Event.FILE_STORED, MIA, target="file:hers")
    await log.record(
        Event.CHAT_ASKED, MIA, target="model:m", request_id="req_hers", facts={"workspace": "workspace_then"}
    )
    await log.record(Event.WORKSPACE_JOINED, CONSOLE, target="workspace:workspace_by", facts={"member": "group_now"})
    await log.record(Event.CHAT_DELETED, MIA, target="chat:gone")
    found_by = [
        ("chat.read", "chat:page", {}, "a record of theirs"),
        ("chat.read", "chat:gone", {}, "a record of theirs"),
        ("file.read", "file:hers", {}, "a record of theirs"),
        ("receipt.read", "request:req_hers", {}, "a record of theirs"),
        ("audit.read", "audit:entries", {"actor": "mia"}, "searched for"),
        ("audit.read", "audit:entries", {"target": "file:hers"}, "searched for"),
        ("legal_hold.put", "workspace:workspace_now", {}, "a place they are in"),
        ("legal_hold.put", "workspace:workspace_then", {}, "a place they are in"),
        ("legal_hold.lifted", "workspace:workspace_by", {}, "a place they are in"),
        ("legal_hold.put", "group:group_now", {}, "a place they are in"),
        ("receipt.read", "x:y", {"of": "mia"}, "named"),
    ]
    for event, target, facts, _ in found_by:
        await log.record(Event(event), admin, target=target, facts=facts)
    await log.record(Event.FILE_READ, outsider, target="file:hers", facts={"purpose": "an appeal"})
    for event, target, facts in (  # not hers
        ("chat.read", "chat:other", {}),
        ("legal_hold.put", "workspace:other", {}),
        ("receipt.read", "request:req_other", {"of": "bob"}),
        ("audit.read", "audit:entries", {"actor": "bob"}),
        ("breakglass.opened", "person:bob", {}),
    ):
        await log.record(Event(event), admin, target=target, facts=facts)
    for each in (Event.AUDIT_READ, Event.AUDIT_EXPORTED, Event.BACKUP_BEGUN):
        await log.record(each, admin)
    found = await desk.reports.disclosures(AUDITOR, "mia")
    by_others = [each for each in found["disclosures"] if each["person"] not in ("mia", "console")]
    assert [(each["event"], each["target"], each["found_by"]) for each in by_others[:-1]] == [
        (event, target, why) for event, target, _, why in found_by
    ]
    outside = by_others[-1]
    assert (outside["person"], outside["exception"], outside["interest"]) == ("eve", None, "an appeal")
    assert found["to_be_recorded"] == 1
    assert [each["event"] for each in found["everybody"]["listed"]] == [
        "audit.read", "audit.exported", "backup.begun",
    ]  # fmt: skip


def test_an_opening_of_what_is_a_students_is_found_whatever_it_was_of() -> None:
    known = Known("mia", frozenset({"chat:c"}), frozenset({"workspace_w"}))
    entries = [
        entry(0, Event.BREAKGLASS_OPENED, actor_id="adm", actor_role="administrator", target="person:mia"),
        entry(1, Event.BREAKGLASS_OPENED, actor_id="adm", actor_role="administrator", target="workspace:workspace_w"),
        entry(
            2, "breakglass.read", actor_id="adm", actor_role="administrator", target="chat:c", facts={"owner": "mia"}
        ),
        entry(3, Event.BREAKGLASS_TOLD, actor_id="adm", actor_role="administrator", target="person:mia"),
        entry(4, Event.BREAKGLASS_CLOSED, actor_id="adm", actor_role="administrator", target="person:bob"),
        # another's, in a workspace that she is in as well
        entry(5, Event.BREAKGLASS_OPENED, target="person:bob", facts={"person": "bob", "workspace": "workspace_w"}),
    ]
    found = Disclosures(known)
    for each in entries:
        found.learn(each)
    for each in entries:
        found.add(each)
    listed = found.result()["disclosures"]
    assert [each["time_ms"] for each in listed] == [0, 1, 2, 3]
    assert all("99.32(d)(2)" in each["exception"] for each in listed)


async def test_the_log_of_a_system_says_what_was_deleted_of_it_when_and_under_which_rule(desk: Desk) -> None:
    log, day_ms = desk.audit, DAY_S * 1000
    now_ms = desk.now_ms
    at = {"class": "log", "number": 3, "rule": "retention.log_days=184", "newest_ms": now_ms - 185 * day_ms}
    await log.record(Event.RETENTION_PURGED, SYSTEM, target="person:mia", facts=at)
    await log.record(Event.RETENTION_PURGED, SYSTEM, target="person:mia", facts={**at, "class": "chat", "number": 9})
    refused = {"class": "log", "days": 30, "least_days": 184, "rule": "EU AI Act"}
    await log.record(Event.RETENTION_REFUSED, AUDITOR, outcome="refused", facts=refused)
    await log.record(Event.PERSON_REMOVED, CONSOLE, target="person:bob", facts={"texts": 2})
    await log.record(Event.PERSON_REMOVED, CONSOLE, target="person:eve", facts={"texts": 0})
    kept = (await desk.reports.system_record(AUDITOR, "m", now_ms - 1, now_ms))["retention"]
    assert kept["purged_earlier"] is False and kept["least_days"] == AI_ACT_DAYS
    assert (kept["purged"]["texts"], kept["purged"]["number"]) == (3, 1)
    assert kept["purged"]["listed"][0]["facts"]["rule"] == "retention.log_days=184"
    assert kept["refused"]["listed"][0]["facts"] == refused
    assert (kept["erased"]["texts"], kept["erased"]["number"]) == (2, 1)
    early = {**at, "newest_ms": now_ms - 183 * day_ms}  # as whoever wrote into the database could have it
    await log.record(Event.RETENTION_PURGED, SYSTEM, target="person:mia", facts=early)
    assert (await desk.reports.system_record(AUDITOR, "m", 0, now_ms))["retention"]["purged_earlier"] is True


async def test_a_review_lists_holds_and_deletions(desk: Desk) -> None:
    await desk.audit.record(Event.LEGAL_HOLD_PUT, AUDITOR, target="person:mia")
    await desk.audit.record(Event.RETENTION_REFUSED, AUDITOR, outcome="refused")
    found = await desk.reports.activity_review(AUDITOR, 0, desk.now_ms + 60_000)
    assert (found["legal_holds"]["number"], found["deletions"]["number"]) == (1, 1)


async def test_the_record_of_a_system_says_what_made_each_output(desk: Desk) -> None:
    log, model = desk.audit, {"weights": "sha256:1", "template": "sha256:2"}
    await log.record(Event.MODEL_RELEASED, CONSOLE, target="model:m", facts={"reason": "checked"})
    facts = {"model": model, "sampling": {"seed": 7}}
    await log.record(
        Event.CHAT_ASKED, MIA, target="model:m", request_id="req_1", facts=facts, texts={"prompt": "hello"}
    )
    done = {"prompt_tokens": 3, "completion_tokens": 4}
    await log.record(Event.CHAT_ANSWERED, MIA, target="model:m", outcome="finished", request_id="req_1", facts=done)
    await log.record(Event.CHAT_ASKED, MIA, target="model:other", request_id="req_2", facts=facts)
    found = await desk.reports.system_record(AUDITOR, "m", 0, desk.now_ms)
    (output,) = found["outputs"]["listed"]
    assert output["parameters"] == {"model": model, "sampling": {"seed": 7}}
    assert output["input"]["prompt"]["commitment"].startswith("sha256:") and "hello" not in str(found)
    assert (output["outcome"], output["tokens"]) == ("finished", done)
    assert found["oversight"]["listed"][0]["facts"] == {"reason": "checked"}
    assert found["retention"]["least_days"] >= 183 and found["retention"]["kept_days"] == 0
    with pytest.raises(Misasked, match="bad_period"):
        await desk.reports.system_record(AUDITOR, "m", 5, 5)


async def test_an_export_is_an_event_and_ends_where_the_log_ended(desk: Desk) -> None:
    for number in range(1_100):  # more than are read at once
        await desk.audit.record(Event.KEY_CREATED, MIA, target=f"key:{number}")
    rows = [row async for row in await desk.reports.export(AUDITOR, "jsonl", Wanted())]
    assert [row["position"] for row in rows] == list(range(1_100))
    assert (await desk.audit.entries(limit=1))[0].event == Event.AUDIT_EXPORTED
    with pytest.raises(Refused):
        await desk.reports.export(MIA, "fhir", Wanted())
