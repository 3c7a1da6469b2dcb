"""The log in other systems' forms: held against what their specifications require, and nothing in it that tells a name.

The schemas are subsets of our own, pinned here: OCSF 1.8.0's classes 6003 and 3002 with the profile `ai_operation`
(required attributes, their types and enumerations), and HL7 FHIR R4's AuditEvent (cardinalities, types, required value
sets). FHIR's published schema is 3 MB; what of it concerns an AuditEvent is this.
"""

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker
from tests.audit.settable_clock import SettableClock

from intramural.audit import AuditLog, Event, Wanted, action_of, fhir, ocsf
from intramural.core.actor import SYSTEM, Actor

TEXT = {"type": "string", "minLength": 1, "pattern": r"\S"}


def an_object(required: str, **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": required.split(), "properties": properties, "additionalProperties": False}


CODING = an_object("system code", system=TEXT, code=TEXT, display=TEXT)
IDENTIFIER = an_object("system value", system={"type": "string", "pattern": "^urn:"}, value=TEXT)
REFERENCE = an_object("", identifier=IDENTIFIER, display=TEXT)
DETAIL = an_object("type valueString", type=TEXT, valueString=TEXT)
AGENT = an_object(
    "requestor",
    who=REFERENCE,
    altId=TEXT,
    role={"type": "array", "items": an_object("text", text=TEXT), "minItems": 1},
    requestor={"type": "boolean"},
)
FHIR = an_object(
    "resourceType type recorded agent source",
    resourceType={"const": "AuditEvent"},
    id={"type": "string", "pattern": r"^[A-Za-z0-9\-.]{1,64}$"},
    type=CODING,
    subtype={"type": "array", "items": CODING, "minItems": 1},
    action={"enum": ["C", "R", "U", "D", "E"]},
    recorded={
        "type": "string",
        "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$",
        "format": "date-time",
    },
    outcome={"enum": ["0", "4", "8", "12"]},
    outcomeDesc=TEXT,
    agent={"type": "array", "items": AGENT, "minItems": 1},
    source=an_object("observer", site=TEXT, observer=REFERENCE, type={"type": "array", "items": CODING, "minItems": 1}),
    entity={
        "type": "array",
        "minItems": 1,
        "items": an_object("", what=REFERENCE, detail={"type": "array", "items": DETAIL, "minItems": 1}),
    },
)

NUMBER = {"type": "integer"}
USER = an_object(
    "uid",
    uid=TEXT,
    type_id={"enum": [0, 1, 2, 3, 99]},
    type=TEXT,
    groups={"type": "array", "items": an_object("name", name=TEXT)},
)
PRODUCT = an_object("name vendor_name", name=TEXT, vendor_name=TEXT, version=TEXT)
BASE: dict[str, Any] = {
    "time": {"type": "integer", "minimum": 0},
    "severity_id": {"enum": [0, 1, 2, 3, 4, 5, 6, 99]},
    "status_id": {"enum": [0, 1, 2, 99]},
    "status_code": TEXT,
    "metadata": an_object(
        "version product",
        version={"const": "1.8.0"},
        uid=TEXT,
        event_code=TEXT,
        product=PRODUCT,
        profiles={"type": "array", "items": {"enum": ["ai_operation"]}},
    ),
    "actor": an_object("user", user=USER, session=an_object("uid", uid={"type": "string"})),
    "src_endpoint": an_object("uid", uid={"type": "string"}, svc_name=TEXT),
    "unmapped": {"type": "object"},
    "activity_name": TEXT,
}
REQUIRED = "activity_id category_uid class_uid metadata severity_id time type_uid"
SERVICE = an_object("name", name=TEXT)
API = an_object(
    f"{REQUIRED} actor api src_endpoint",
    **BASE,
    class_uid={"const": 6003},
    category_uid={"const": 6},
    activity_id={"enum": [1, 2, 3, 4, 99]},
    type_uid={"enum": [600301, 600302, 600303, 600304, 600399]},
    api=an_object("operation", operation=TEXT, request=an_object("uid", uid=TEXT)),
    resources={"type": "array", "items": an_object("uid type", uid=TEXT, type=TEXT)},
    ai_model=an_object("model_name ai_provider", name=TEXT, model_name=TEXT, ai_provider=TEXT, version=TEXT),
    message_context=an_object(
        "service",
        service=SERVICE,
        ai_role_id={"enum": [0, 1, 2, 3, 4, 5, 6, 99]},
        prompt_tokens=NUMBER,
        completion_tokens=NUMBER,
        total_tokens=NUMBER,
    ),
)
LOGIN = an_object(
    f"{REQUIRED} user service",
    **BASE,
    class_uid={"const": 3002},
    category_uid={"const": 3},
    activity_id={"enum": [1, 2]},
    type_uid={"enum": [300201, 300202]},
    user=an_object("uid", uid=TEXT),
    service=SERVICE,
)

#: What outsiders may put into any text that reaches a record (R-62).
HOSTILE = {
    "lines": 'a\r\nb\n{"event":"login.succeeded"}',
    "terminal": "\x1b[2J\x1b]0;owned\x07\x9b31m",
    "direction": "abc\u202egnp.exe\u2066\u200f",
    "megabyte": "A" * 2**20,
    "surrogates": b"\xff\xfe\x80".decode("utf-8", "surrogateescape"),
    "nothing": "\x00\x7f\u2028\u2029",
    "markup": "<script>alert(1)</script>\"'`${x}",
}


async def every_event(log: AuditLog, ada: Actor) -> None:
    """One entry of every event there is, and answers with what a model did."""
    for number, event in enumerate(Event):
        actor = SYSTEM if number % 3 == 0 else ada
        outcome = ("allowed", "refused", "finished", "failed", "cancelled")[number % 5]
        target = "model:m" if number % 2 or event.endswith(".answered") else ""  # what answered has a name
        await log.record(event, actor, target=target, outcome=outcome)  # type: ignore[arg-type]
    facts = {"model": {"weights": "sha256:00"}, "weights": "sha256:00"}
    await log.record(
        Event.CHAT_ASKED, ada, target="model:m", request_id="req_1", facts=facts, texts={"prompt": "Rosebud"}
    )
    counts = {"weights": "sha256:00", "prompt_tokens": 3, "completion_tokens": 4}
    await log.record(Event.CHAT_ANSWERED, ada, target="model:m", outcome="finished", request_id="req_1", facts=counts)
    await log.record(Event.LOGIN_SUCCEEDED, SYSTEM, target="person:person_ada")


async def test_every_event_is_well_formed_ocsf_and_fhir(log: AuditLog, ada: Actor) -> None:
    await every_event(log, ada)
    checks = {
        name: Draft202012Validator(schema, format_checker=FormatChecker())
        for name, schema in (("fhir", FHIR), ("api", API), ("login", LOGIN))
    }
    found = [entry async for entry in log.walk(Wanted())]
    assert len(found) == len(Event) + 3
    for entry in found:
        checks["fhir"].validate(fhir(entry, "1.0"))
        event = ocsf(entry, "1.0")
        checks["login" if event["class_uid"] == 3002 else "api"].validate(event)
        assert event["type_uid"] == event["class_uid"] * 100 + event["activity_id"]
        text = json.dumps([event, fhir(entry, "1.0")])
        assert "Rosebud" not in text and "lovelace" not in text
    answered = ocsf(found[-2], "1.0")
    assert answered["metadata"]["profiles"] == ["ai_operation"]
    assert answered["ai_model"]["version"] == "sha256:00" and answered["message_context"]["total_tokens"] == 7
    assert ocsf(found[-1], "1.0")["user"] == {"uid": "person_ada"}


@pytest.mark.parametrize(
    ("broken", "schema"),
    [({"agent": []}, FHIR), ({"outcome": "1"}, FHIR), ({"class_uid": 6004}, API), ({"src_endpoint": {}}, API)],
)
async def test_the_schemas_refuse_what_is_none(
    log: AuditLog, ada: Actor, broken: dict[str, Any], schema: dict[str, Any]
) -> None:
    await log.record(Event.KEY_CREATED, ada, target="key:k")
    (entry,) = [entry async for entry in log.walk(Wanted())]
    made = fhir(entry, "1.0") if schema is FHIR else ocsf(entry, "1.0")
    assert Draft202012Validator(schema).is_valid(made)
    assert not Draft202012Validator(schema).is_valid(made | broken)


def test_events_are_kinds_of_acts() -> None:
    kinds = {"person.created": "C", "file.read": "R", "person.changed": "U", "key.revoked": "D", "chat.answered": "E"}
    assert {event: action_of(event) for event in kinds} == kinds


@pytest.mark.parametrize("name", HOSTILE)
async def test_hostile_text_in_every_field_makes_one_well_formed_record(log: AuditLog, ada: Actor, name: str) -> None:
    text = HOSTILE[name]
    actor = Actor("key", text, text, "member", frozenset({"inference"}), text)
    facts = {"text": text, "list": [text], text[:64]: {"deep": text}}
    await log.record(Event.CHAT_ASKED, actor, target=text, request_id=text, facts=facts, texts={"prompt": text})
    await log.record(Event.KEY_CREATED, ada)
    found = [entry async for entry in log.walk(Wanted())]
    assert [entry.event for entry in found] == ["chat.asked", "key.created"]
    (data, _), *_ = await log.of_request(found[0].request_id or "")
    assert data.isascii() and b"\n" not in data and b"\x1b" not in data and b"\x7f" not in data
    assert len(data) < 40_000 and json.loads(data)["position"] == 0
    for made in (ocsf(found[0], "1.0"), fhir(found[0], "1.0")):
        line = json.dumps(made)
        assert line.isascii() and "\n" not in line and json.loads(line) == made
    assert (await log.verify()).ok


async def test_searching_finds_by_every_field_and_says_where_to_go_on(
    log: AuditLog, ada: Actor, clock: SettableClock
) -> None:
    for number in range(30):
        clock.offset_s = number * 60
        await log.record(
            Event.KEY_CREATED if number % 2 else Event.KEY_REVOKED,
            ada,
            target=f"key:key_{number}",
            outcome="refused" if number % 3 == 0 else "allowed",
            request_id=f"req_{number}",
            facts={"name": f"Straße {number}", "workspace": f"workspace_{number % 10}"},
        )
    first = (await log.entries(limit=1_000))[-1].time_ms

    async def positions(limit: int = 50, **wanted: Any) -> list[int]:
        return [entry.position for entry in (await log.search(Wanted(**wanted), limit)).entries]

    assert await positions(request_id="req_7") == [7]
    assert await positions(target="key:key_2") == [29, 28, 27, 26, 25, 24, 23, 22, 21, 20, 2]
    assert await positions(outcome="refused", limit=3) == [27, 24, 21]
    assert await positions(event="key.*") == list(range(29, -1, -1))
    assert await positions(event="key.created", text="strasse 1") == [19, 17, 15, 13, 11, 1]
    assert await positions(text="KEY_11") == [11]
    assert await positions(workspace="workspace_4", outcome="refused") == [24]
    assert await positions(workspace="workspace_") == []
    await log.record(Event.WORKSPACE_CHANGED, ada, target="workspace:workspace_4")
    assert await positions(workspace="workspace_4") == [30, 24, 14, 4]
    assert await positions(from_ms=first + 60_000, to_ms=first + 180_000) == [2, 1]
    assert await positions(event="nothing.*") == [] == await positions(limit=0)
    page, seen = await log.search(Wanted(outcome="refused"), 4), list[int]()
    while page.older is not None:
        seen += [entry.position for entry in page.entries]
        page = await log.search(Wanted(outcome="refused", before=page.older), 4)
    assert [*seen, *(entry.position for entry in page.entries)] == list(range(27, -1, -3))
