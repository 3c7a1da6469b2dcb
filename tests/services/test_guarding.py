"""What goes to a model and comes back, by the label of the data: with the real log and the real numbers."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from tests import databases

from intramural.audit import AuditLog
from intramural.core.actor import SCOPES, Actor, Place
from intramural.core.chat import (
    ChatEvent,
    ChatRequest,
    Delta,
    Finished,
    Image,
    Message,
    Reasoning,
    ResponseFormat,
    Sampling,
    Tool,
    ToolCall,
    ToolCallDelta,
    Usage,
)
from intramural.core.clock import SystemClock
from intramural.core.config import AuditConfig, GuardConfig
from intramural.core.errors import Misasked, Refused, Unavailable
from intramural.guard import Kind, Names, Nobody, Span
from intramural.metering import Metrics
from intramural.services.gate import Gate
from intramural.services.guarding import Guarding
from intramural.services.shield import Shield

MIA = Actor("person", "mia", "mia", "member", frozenset(SCOPES), "session_1")
BOB = Actor("person", "bob", "bob", "member", frozenset(SCOPES), "session_2")
SSN, MRN = "123-45-6789", "00482913"
SAID = f"Patient with MRN {MRN} and SSN {SSN}, seen on March 3, 2024."


class Desk:
    """A guard with a real log."""

    def __init__(self, audit: AuditLog) -> None:
        self.audit = audit
        self.metrics = Metrics("0")

    def guard(self, label: str = "phi", *rules: str, names: Names | None = None) -> Guarding:
        config = GuardConfig(label=label, rules=rules)
        key_of = lambda project: project.encode().ljust(32, b".")  # noqa: E731 — a key for each project is all it is
        return Guarding(config, Gate(self.audit), names or Nobody(), self.audit, self.metrics, SystemClock(), key_of)

    async def refused(self) -> list[dict[str, object]]:
        return [dict(entry.facts) for entry in await self.audit.entries() if entry.event == "guard.stopped"]


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with AsyncExitStack() as stack:
        db = await databases.opened(tmp_path / "test.db")
        stack.push_async_callback(db.close)
        audit = await AuditLog.open(db, tmp_path / "secrets", AuditConfig(), SystemClock())
        stack.push_async_callback(audit.close)
        yield Desk(audit)


def asking(text: str, **fields: object) -> ChatRequest:
    return ChatRequest("req_1", "m", (Message("user", text),), **fields)  # type: ignore[arg-type]  # fields of its own


async def told(shield: Shield, events: Sequence[ChatEvent]) -> tuple[list[ChatEvent], list[ChatEvent]]:
    """What the log and what the person gets."""
    pairs = [pair for event in events for pair in await shield.told(event)]
    return [noted for noted, _ in pairs], [shown for _, shown in pairs]


def words(events: Sequence[ChatEvent], kind: type = Delta) -> str:
    return "".join(event.text for event in events if isinstance(event, kind))


def letters(text: str, kind: type = Delta) -> list[ChatEvent]:
    return [kind(0, letter) for letter in text]


# in -------------------------------------------------------------------------------------------------------------------


async def test_under_a_label_that_allows_everything_nothing_is_touched(desk: Desk) -> None:
    request = asking(SAID)
    assert await desk.guard("internal").incoming(MIA, request) == (request, None)
    assert await desk.guard("internal").texts(MIA, [SAID], "r") == ([SAID], None)


async def test_every_text_of_a_request_is_redacted(desk: Desk) -> None:
    call = ToolCall("c1", "find", json.dumps({"mrn": MRN, "ssn": 123456789, "limit": 5}))
    schema = {"type": "object", "properties": {"who": {"type": "string", "enum": [f"SSN {SSN}", "nobody"]}}}
    request = ChatRequest(
        "req_1",
        "m",
        (
            Message("system", f"You help. The ward's phone is (415) 555-2671. {SSN}"),
            Message("user", SAID, parts=(SAID,)),
            Message("assistant", "", tool_calls=(call,), reasoning=f"I look for {SSN}"),
            Message("tool", json.dumps({"ssn": SSN, "age": 45}), tool_call_id="c1"),
            Message("tool", f"no JSON: {SSN}", tool_call_id="c1"),
        ),
        tools=(Tool("find", f"finds {SSN}", schema),),
        labels={"user": f"ssn {SSN}"},
    )
    changed, shield = await desk.guard().incoming(MIA, request)
    assert shield is not None
    everything = repr(changed)
    for secret in (SSN, MRN, "123456789", "555-2671", "March 3"):
        assert secret not in everything
    assert "[DATE-2024-" in changed.messages[1].content == changed.messages[1].parts[0]
    arguments = json.loads(changed.messages[2].tool_calls[0].arguments)
    assert arguments["limit"] == 5 and arguments["mrn"].startswith("[MRN-") and arguments["ssn"].startswith("[SSN-")
    assert json.loads(changed.messages[3].content)["age"] == 45
    assert changed.tools[0].parameters["type"] == "object"
    assert schema["properties"]["who"]["enum"][0] == f"SSN {SSN}"  # type: ignore[index]  # the caller's is as it was
    facts = shield.asked_facts()["guard"]
    assert facts["found"]["redact"]["mrn"] == 2 and SSN not in repr(facts)  # type: ignore[index,call-overload]


async def test_a_person_has_the_same_marks_again_and_nobody_else_has_them(desk: Desk) -> None:
    guard = desk.guard()
    first, _ = await guard.incoming(MIA, asking(SAID))
    again, _ = await guard.incoming(MIA, asking(SAID))
    other, _ = await guard.incoming(BOB, asking(SAID))
    assert first.messages == again.messages != other.messages


async def test_in_a_workspace_its_label_counts_and_its_members_share_marks(desk: Desk) -> None:
    ward = Place("ws_ward", "Ward", "phi")
    guard = desk.guard("internal")
    mine, shield = await guard.incoming(MIA.inside(ward, ""), asking(SAID))
    others, _ = await guard.incoming(BOB.inside(ward, ""), asking(SAID))
    assert shield is not None and SSN not in repr(mine.messages)
    assert mine.messages == others.messages
    elsewhere, _ = await guard.incoming(MIA.inside(Place("ws_b", "B", "phi"), ""), asking(SAID))
    assert elsewhere.messages != mine.messages
    open_, none = await desk.guard("phi").incoming(MIA.inside(Place("ws_c", "C", "internal"), ""), asking(SAID))
    assert none is None and open_.messages == asking(SAID).messages


async def test_a_refusal_names_classes_and_places_and_no_value(desk: Desk) -> None:
    with pytest.raises(Refused) as caught:
        await desk.guard("phi", "phi: *=allow ssn=block").incoming(MIA, asking(SAID))
    error = caught.value
    start = SAID.index(SSN)
    assert error.code == "guard_stopped" and error.hint
    assert f"social security number (message 1, characters {start + 1} to {start + len(SSN)})" in error.message
    assert SSN not in str(error)
    assert await desk.refused() == [{"label": "phi", "found": {"block": {"ssn": 1}}}]


async def test_what_cannot_be_looked_into_is_refused_where_it_might_have_to_be_changed(desk: Desk) -> None:
    for request in (
        ChatRequest("r", "m", prompt=(1, 2, 3)),
        asking("hello", sampling=Sampling(logprobs=True)),
    ):
        with pytest.raises(Refused) as caught:
            await desk.guard().incoming(MIA, request)
        assert caught.value.code == "guard_cannot_look"
        assert (await desk.guard("public").incoming(MIA, request))[0].prompt == request.prompt
    with pytest.raises(Refused):
        await desk.guard().texts(MIA, [(1, 2)], "r")


async def test_pictures_are_counted_or_refused_and_never_looked_into(desk: Desk) -> None:
    message = Message("user", "Look", parts=("Look", Image(b"png")))
    _, shield = await desk.guard().incoming(MIA, ChatRequest("r", "m", (message,)))
    assert shield is not None
    assert shield.asked_facts()["guard"]["found"] == {"warn": {"image": 1}}  # type: ignore[index,call-overload]
    with pytest.raises(Refused, match="picture"):
        await desk.guard("phi", "phi: image=block").incoming(MIA, ChatRequest("r", "m", (message,)))


async def test_texts_for_vectors_are_redacted_with_the_same_marks_as_questions(desk: Desk) -> None:
    guard = desk.guard()
    (text,), shield = await guard.texts(MIA, [SAID], "r")
    request, _ = await guard.incoming(MIA, asking(SAID))
    assert shield is not None and text == request.messages[0].content


async def test_what_nobody_looks_for_is_said(desk: Desk) -> None:
    _, shield = await desk.guard().incoming(MIA, asking("hello"))
    assert shield is not None
    blind = ["image", "name", "organisation", "place"]
    assert shield.asked_facts()["guard"]["not_looked_for"] == blind  # type: ignore[index,call-overload]


# out ------------------------------------------------------------------------------------------------------------------


async def test_the_person_who_asked_gets_their_own_values_and_the_log_does_not(desk: Desk) -> None:
    request, shield = await desk.guard().incoming(MIA, asking(SAID))
    assert shield is not None
    noted, shown = await told(shield, [*letters(request.messages[0].content), Finished(0, "stop"), Usage(1, 1)])
    assert words(shown) == SAID
    assert words(noted) == request.messages[0].content
    assert shown[-2:] == [Finished(0, "stop"), Usage(1, 1)]


async def test_what_an_answer_brings_of_its_own_stays_redacted(desk: Desk) -> None:
    _, shield = await desk.guard().incoming(MIA, asking("Make one up."))
    assert shield is not None
    answer = "It is 987-65-4321, or so I was told. Her fax number is (415) 555-2672."
    noted, shown = await told(shield, [*letters(answer), Finished(0, "stop")])
    assert words(noted) == words(shown)
    assert "4321" not in words(shown) and "2672" not in words(shown) and "[FAX-" in words(shown)
    assert shield.answered_facts()["guard"]["found"] == {"redact": {"fax": 1, "ssn": 1}}  # type: ignore[index,call-overload]


async def test_choices_and_thoughts_are_kept_apart(desk: Desk) -> None:
    request, shield = await desk.guard().incoming(MIA, asking(SAID))
    assert shield is not None
    text = request.messages[0].content
    mixed = [
        each for at, letter in enumerate(text) for each in (Delta(0, letter), Reasoning(0, letter), Delta(1, letter))
    ]
    _, shown = await told(shield, [*mixed, Finished(0, "stop"), Finished(1, "length")])
    assert words([e for e in shown if isinstance(e, Delta) and e.index == 0]) == SAID
    assert words([e for e in shown if isinstance(e, Delta) and e.index == 1]) == SAID
    assert words(shown, Reasoning) == SAID


async def test_arguments_of_calls_are_whole_json_again(desk: Desk) -> None:
    said = 'Dr. Ann O\'Neil said: "MRN 00482913"'
    request, shield = await desk.guard().incoming(MIA, asking(said))
    assert shield is not None
    arguments = json.dumps({"who": request.messages[0].content, "ssn": 987654321})
    parts = [ToolCallDelta(0, 0, "", "c1", "find")] + [ToolCallDelta(0, 0, letter) for letter in arguments]
    noted, shown = await told(shield, [*parts, ToolCallDelta(0, 1, "{}", "c2", "stop"), Finished(0, "tool_calls")])
    calls = [event for event in shown if isinstance(event, ToolCallDelta)]
    assert [(call.id, call.name) for call in calls] == [("c1", "find"), ("c2", "stop")]
    got = json.loads(calls[0].arguments)
    assert got["who"] == said and got["ssn"].startswith("[SSN-")
    assert MRN not in repr(noted)


async def test_what_is_put_back_into_json_is_escaped(desk: Desk) -> None:
    request = asking('He is called Dr. D\'Arcy. Name: "Bo"', response_format=ResponseFormat("json_object"))
    guard = desk.guard("phi", names=Always("D'Arcy. Name: \"Bo"))
    changed, shield = await guard.incoming(MIA, request)
    assert shield is not None
    mark = changed.messages[0].content[len("He is called Dr. ") :].rstrip('"')
    _, shown = await told(shield, [Delta(0, json.dumps({"a": mark})), Finished(0, "stop")])
    assert json.loads(words(shown)) == {"a": "D'Arcy. Name: \"Bo"}


async def test_an_answer_that_must_not_be_is_stopped_before_it_is_shown(desk: Desk) -> None:
    _, shield = await desk.guard("phi", "phi: ssn=block").incoming(MIA, asking("hello"))
    assert shield is not None
    shown: list[ChatEvent] = []
    with pytest.raises(Refused) as caught:
        for event in [*letters("The number you want is 987-65-4321 and nothing else."), Finished(0, "stop")]:
            shown += [pair[1] for pair in await shield.told(event)]
    assert caught.value.code == "guard_stopped" and "4321" not in str(caught.value)
    assert "987" not in words(shown)


async def test_where_only_a_warning_is_wanted_nothing_is_held_back(desk: Desk) -> None:
    request, shield = await desk.guard("public").incoming(MIA, asking(SAID))
    assert shield is not None and request.messages[0].content == SAID
    for event in letters(f"It is {SSN}"):
        assert await shield.told(event) == [(event, event)]
    await shield.told(Finished(0, "stop"))
    assert shield.answered_facts()["guard"]["found"] == {"warn": {"ssn": 1}}  # type: ignore[index,call-overload]


async def test_numbers_are_counted_by_class_and_hold_no_text(desk: Desk) -> None:
    guard = desk.guard()
    _, shield = await guard.incoming(MIA, asking(SAID))
    assert shield is not None
    await told(shield, [Delta(0, f"It is {SSN}"), Finished(0, "stop")])
    guard.answered(shield)
    text = desk.metrics.render().decode()
    assert 'intramural_guard_found_total{action="redact",direction="in",identifier="ssn",label="phi"} 1.0' in text
    assert 'intramural_guard_found_total{action="redact",direction="out",identifier="ssn",label="phi"} 1.0' in text
    assert SSN not in text


# names ----------------------------------------------------------------------------------------------------------------


class Always:
    """Finds one name wherever it stands, as a reader would."""

    kinds = frozenset({Kind.NAME})
    about = "a list of one"

    def __init__(self, name: str) -> None:
        self.name = name

    async def find(self, texts: Sequence[str]) -> list[tuple[Span, ...]]:
        return [
            tuple(
                Span(Kind.NAME, at, at + len(self.name), 0.8, "model")
                for at in range(len(t))
                if t.startswith(self.name, at)
            )
            for t in texts
        ]

    async def close(self) -> None:
        pass


class Gone(Always):
    """Cannot be asked."""

    async def find(self, texts: Sequence[str]) -> list[tuple[Span, ...]]:
        raise Unavailable("guard_unavailable", "No.")


async def test_names_that_are_read_are_redacted_too_sentence_by_sentence(desk: Desk) -> None:
    guard = desk.guard(names=Always("Zora"))
    request, shield = await guard.incoming(MIA, asking("I met Zora today."))
    assert shield is not None and "Zora" not in request.messages[0].content
    assert shield.asked_facts()["guard"]["not_looked_for"] == [  # type: ignore[index,call-overload]
        "image", "organisation", "place",
    ]  # fmt: skip
    _, shown = await told(shield, [*letters(request.messages[0].content), Finished(0, "stop")])
    assert words(shown) == "I met Zora today."


async def test_a_question_is_read_as_a_whole_and_an_answer_as_it_comes(desk: Desk) -> None:
    """What a question says of a name anywhere counts everywhere in it; an answer is the same however it arrives."""
    text = "Okafor rang at noon, and will ring again.\nPatient: Amara Okafor\nname,room\nBo Li,4\n"
    request, shield = await desk.guard().incoming(MIA, asking(text))
    asked = request.messages[0].content
    assert asked.count("[NAME-") == 3 and not any(name in asked for name in ("Okafor", "Bo Li"))
    assert shield is not None
    once = words((await told(shield, [Delta(0, text), Finished(0, "stop")]))[0])
    _, shield = await desk.guard().incoming(MIA, asking(text))
    assert shield is not None
    assert words((await told(shield, [*letters(text), Finished(0, "stop")]))[0]) == once
    assert once.count("[NAME-") == 1 and once.startswith("Okafor rang")


async def test_what_cannot_be_read_does_not_pass_unread(desk: Desk) -> None:
    with pytest.raises(Unavailable):
        await desk.guard(names=Gone("Zora")).incoming(MIA, asking("I met Zora today."))


# settings and checks --------------------------------------------------------------------------------------------------


async def test_a_label_that_is_none_is_refused_at_the_start(desk: Desk) -> None:
    with pytest.raises(Misasked, match=r"guard\.label"):
        desk.guard("secret")


async def test_a_check_shows_places_and_what_would_become_of_them(desk: Desk) -> None:
    checked = await desk.guard("internal").check(MIA, SAID, "phi")
    assert [SAID[s.start : s.end] for s in checked.spans] == [MRN, SSN, "March 3, 2024"]
    assert SSN not in checked.redacted
    assert (await desk.guard("internal").check(MIA, SAID)).spans == ()
    with pytest.raises(Misasked) as caught:
        await desk.guard().check(MIA, SAID, "nonsense")
    assert caught.value.code == "no_such_label"
