"""What the Responses API remembers: going on, conversations, the background, owners, restarts, and forgetting."""

import asyncio
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
import requests
from openai import AsyncOpenAI, OpenAI
from openai.types.conversations import Conversation, ConversationItem
from openai.types.responses import Response, ResponseItem
from pydantic import TypeAdapter
from tests import databases
from tests.journeys.responses import events_of, types
from tests.service import MODEL, Service

ITEM: TypeAdapter[Any] = TypeAdapter(ResponseItem)
CONVERSATION_ITEM: TypeAdapter[Any] = TypeAdapter(ConversationItem)
#: Long enough to be met while it is being written: thousands of tokens that the schema insists on.
NUMBERS = {"type": "array", "items": {"type": "integer"}, "minItems": 50, "maxItems": 50}
SHEET = {"type": "array", "items": NUMBERS, "minItems": 50, "maxItems": 50}
LONG: dict[str, Any] = {
    "model": MODEL,
    "input": "Invent many numbers.",
    "temperature": 0,
    "text": {"format": {"type": "json_schema", "name": "sheet", "schema": SHEET}},
}


def person(service: Service, name: str) -> str:
    """A key of somebody else's."""
    password = "a member's password"
    made = service.page("POST", "/people", json={"username": name, "password": password, "role": "member"})
    assert made.status_code == 201, made.text
    session = requests.Session()
    base = f"{service.address}/intramural/v1"
    me = session.post(f"{base}/login", json={"username": name, "password": password}, timeout=10).json()
    headers = {"X-CSRF-Token": me["csrf_token"]}
    body = {"name": "theirs", "scopes": ["inference"]}
    return str(session.post(f"{base}/keys", json=body, headers=headers, timeout=10).json()["secret"])


def until(client: OpenAI, response_id: str, *wanted: str) -> Response:
    """The response, once its status is one of `wanted`."""
    for _ in range(600):
        response = client.responses.retrieve(response_id)
        if response.status in wanted:
            return response
        time.sleep(0.1)
    raise AssertionError(f"{response.status} and not {wanted}")


def raw(service: Service, client: OpenAI, method: str, path: str, **kwargs: Any) -> requests.Response:
    headers = {"Authorization": f"Bearer {client.api_key}"}
    return requests.request(method, f"{service.address}/v1{path}", headers=headers, timeout=60, **kwargs)


def test_a_response_is_kept_and_read_again(client: OpenAI) -> None:
    made = client.responses.create(
        model=MODEL, input="Say hello.", max_output_tokens=8, metadata={"a": "b"}, instructions="Be kind."
    )
    read = client.responses.retrieve(made.id)
    assert read.to_dict() == made.to_dict()
    assert made.metadata == {"a": "b"} and made.instructions == "Be kind."
    streamed = list(client.responses.create(model=MODEL, input="Hi.", max_output_tokens=4, stream=True))
    last = streamed[-1].response  # type: ignore[union-attr]
    assert client.responses.retrieve(last.id).to_dict() == last.to_dict()


def test_not_stored_is_not_there(client: OpenAI) -> None:
    made = client.responses.create(model=MODEL, input="Say hello.", max_output_tokens=4, store=False)
    with pytest.raises(openai.NotFoundError) as caught:
        client.responses.retrieve(made.id)
    assert caught.value.code == "response_not_found"
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.create(model=MODEL, input="And?", previous_response_id=made.id)
    assert (refused.value.code, refused.value.param) == ("previous_response_not_found", "previous_response_id")


def test_going_on_reads_everything_before_but_the_instructions(client: OpenAI) -> None:
    first = client.responses.create(
        model=MODEL, input="My name is Ada.", instructions="Speak in rhymes.", max_output_tokens=20, temperature=0
    )
    again = client.responses.create(
        model=MODEL, input="What is my name?", previous_response_id=first.id, max_output_tokens=20, temperature=0
    )
    by_hand = client.responses.create(
        model=MODEL,
        input=[
            {"role": "user", "content": "My name is Ada."},
            {"role": "assistant", "content": first.output_text},
            {"role": "user", "content": "What is my name?"},
        ],
        max_output_tokens=20,
        temperature=0,
    )
    assert again.previous_response_id == first.id and again.instructions is None
    assert again.usage and by_hand.usage
    assert (again.usage.input_tokens, again.output_text) == (by_hand.usage.input_tokens, by_hand.output_text)
    assert by_hand.usage.input_tokens_details.cached_tokens > 0  # the same prompt once more
    third = client.responses.create(
        model=MODEL, input="And?", previous_response_id=again.id, max_output_tokens=4, temperature=0
    )
    listed = list(client.responses.input_items.list(third.id, order="asc", limit=2))
    for item in listed:
        ITEM.validate_python(item.to_dict(), strict=True)
    texts = [item.content[0].text for item in listed]  # type: ignore[union-attr]
    assert texts == ["My name is Ada.", first.output_text, "What is my name?", again.output_text, "And?"]
    assert client.responses.input_items.list(third.id).data[0].id == listed[-1].id


def test_a_deleted_response_is_gone_also_for_those_after_it(client: OpenAI, service: Service) -> None:
    first = client.responses.create(model=MODEL, input="One.", max_output_tokens=4)
    second = client.responses.create(model=MODEL, input="Two.", previous_response_id=first.id, max_output_tokens=4)
    client.responses.delete(first.id)
    for gone in (lambda: client.responses.retrieve(first.id), lambda: client.responses.delete(first.id)):
        with pytest.raises(openai.NotFoundError):
            gone()
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(model=MODEL, input="Three.", previous_response_id=second.id)
    assert caught.value.code == "previous_response_not_found"
    (entry,) = service.events(event="response.deleted")[:1]
    assert entry["target"] == f"response:{first.id}" and "One." not in str(entry)


def test_a_tool_call_is_answered_by_going_on_or_by_reference(client: OpenAI) -> None:
    tool: Any = {
        "type": "function", "name": "get_weather", "strict": True,
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    }  # fmt: skip
    first = client.responses.create(
        model=MODEL, input="Weather in Rome?", tools=[tool], tool_choice="required", max_output_tokens=300,
        parallel_tool_calls=False,
    )  # fmt: skip
    call = first.output[0]
    assert call.type == "function_call"
    output: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "Sunny."}
    gone_on = client.responses.create(
        model=MODEL, input=[output], previous_response_id=first.id, max_output_tokens=8, temperature=0
    )
    question: Any = {"role": "user", "content": "Weather in Rome?"}
    reference: Any = {"type": "item_reference", "id": call.id}
    by_reference = client.responses.create(
        model=MODEL, input=[question, reference, output], max_output_tokens=8, temperature=0
    )
    assert gone_on.usage and by_reference.usage
    assert gone_on.usage.input_tokens == by_reference.usage.input_tokens
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(model=MODEL, input=[question, {"type": "item_reference", "id": "msg_nothing"}])
    assert caught.value.code == "item_not_found"


def test_what_is_kept_is_its_owners_alone(client: OpenAI, service: Service) -> None:
    mine = client.responses.create(model=MODEL, input="My secret is 42.", max_output_tokens=4)
    conversation = client.conversations.create(items=[{"role": "user", "content": "My secret is 42."}])
    item = client.conversations.items.list(conversation.id).data[0]
    eve = service.client(person(service, "eve"))
    refused: list[Any] = [
        lambda: eve.responses.retrieve(mine.id),
        lambda: eve.responses.delete(mine.id),
        lambda: eve.responses.cancel(mine.id),
        lambda: eve.responses.input_items.list(mine.id),
        lambda: eve.conversations.retrieve(conversation.id),
        lambda: eve.conversations.update(conversation.id, metadata={}),
        lambda: eve.conversations.items.list(conversation.id),
        lambda: eve.conversations.items.create(conversation.id, items=[{"role": "user", "content": "x"}]),
        lambda: eve.conversations.items.retrieve(item.id or "", conversation_id=conversation.id),
        lambda: eve.conversations.items.delete(item.id or "", conversation_id=conversation.id),
        lambda: eve.conversations.delete(conversation.id),
        lambda: eve.responses.create(model=MODEL, input="x", conversation=conversation.id),
    ]
    for attempt in refused:
        with pytest.raises(openai.NotFoundError):
            attempt()
    for change in ({"previous_response_id": mine.id}, {"input": [{"type": "item_reference", "id": item.id}]}):
        with pytest.raises(openai.BadRequestError):
            eve.responses.create(**{"model": MODEL, "input": "Tell me.", **change})  # type: ignore[call-overload]
    assert client.responses.retrieve(mine.id).id == mine.id
    assert client.conversations.retrieve(conversation.id).id == conversation.id


def test_a_conversation_grows_with_every_response(client: OpenAI) -> None:
    conversation = client.conversations.create(
        items=[{"role": "system", "content": "Be short."}], metadata={"topic": "names"}
    )
    Conversation.model_validate(conversation.to_dict(), strict=True)
    first = client.responses.create(
        model=MODEL, input="My name is Ada.", conversation=conversation.id, max_output_tokens=8, temperature=0
    )
    second = client.responses.create(
        model=MODEL, input="And yours?", conversation={"id": conversation.id}, max_output_tokens=8, stream=True
    )
    last = list(second)[-1].response  # type: ignore[union-attr]
    assert first.conversation and last.conversation and last.conversation.id == conversation.id
    assert last.usage and first.usage and last.usage.input_tokens > first.usage.input_tokens
    listed = list(client.conversations.items.list(conversation.id, order="asc", limit=2))
    for item in listed:
        CONVERSATION_ITEM.validate_python(item.to_dict(), strict=True)
    assert [item.role for item in listed] == ["system", "user", "assistant", "user", "assistant"]  # type: ignore[union-attr]
    assert listed[2].content[0].text == first.output_text  # type: ignore[union-attr]


def test_conversations_are_changed_and_deleted(client: OpenAI, service: Service) -> None:
    conversation = client.conversations.create()
    assert list(client.conversations.items.list(conversation.id)) == []
    changed = client.conversations.update(conversation.id, metadata={"a": "b"})
    assert changed.metadata == {"a": "b"}
    added = client.conversations.items.create(
        conversation.id,
        items=[{"role": "user", "content": "One."}, {"role": "assistant", "content": "Two."}],
    )
    one = client.conversations.items.retrieve(added.first_id, conversation_id=conversation.id)
    assert one.content[0].text == "One."  # type: ignore[union-attr]
    client.conversations.items.delete(added.first_id, conversation_id=conversation.id)
    assert [item.id for item in client.conversations.items.list(conversation.id)] == [added.last_id]
    deleted = client.conversations.delete(conversation.id)
    assert deleted.deleted and deleted.id == conversation.id
    with pytest.raises(openai.NotFoundError):
        client.conversations.retrieve(conversation.id)
    assert service.events(event="conversation.deleted")[0]["target"] == f"conversation:{conversation.id}"


def test_in_the_background_without_anybody_waiting(client: OpenAI) -> None:
    made = client.responses.create(model=MODEL, input="Say hello.", background=True, max_output_tokens=8)
    Response.model_validate(made.to_dict(), strict=True)
    assert made.status in ("queued", "in_progress") and made.background
    done = until(client, made.id, "completed", "incomplete")
    assert done.output_text and done.usage
    assert client.responses.cancel(made.id).status == done.status
    after = client.responses.create(model=MODEL, input="Go on.", previous_response_id=made.id, max_output_tokens=4)
    assert after.output_text


def test_a_background_stream_is_left_and_taken_up_again(client: OpenAI, service: Service) -> None:
    body = {"model": MODEL, "input": "Say hello.", "background": True, "stream": True, "max_output_tokens": 60}
    seen = []
    stream = client.responses.create(**body)  # type: ignore[call-overload]
    for event in stream:
        seen.append(event)
        if len(seen) == 6:
            stream.close()
            break
    assert [event.type for event in seen[:3]] == ["response.created", "response.queued", "response.in_progress"]
    response_id = seen[0].response.id
    rest = list(client.responses.retrieve(response_id, stream=True, starting_after=seen[-1].sequence_number))
    numbers = [event.sequence_number for event in [*seen, *rest]]
    assert numbers == list(range(len(numbers)))
    whole = raw(service, client, "GET", f"/responses/{response_id}", params={"stream": "true"})
    events = events_of(whole.text)
    assert types(events) == [event.type for event in [*seen, *rest]]
    assert events[-1]["response"] == client.responses.retrieve(response_id).to_dict()


def test_a_background_response_is_cancelled(client: OpenAI, service: Service) -> None:
    made = client.responses.create(**LONG, background=True)
    until(client, made.id, "in_progress")
    with pytest.raises(openai.ConflictError) as caught:
        client.responses.create(model=MODEL, input="Go on.", previous_response_id=made.id)
    assert caught.value.code == "response_in_progress"
    ended = client.responses.cancel(made.id)
    assert ended.status == "cancelled"
    Response.model_validate(ended.to_dict(), strict=True)
    assert client.responses.cancel(made.id).to_dict() == ended.to_dict()
    assert service.events(event="response.cancelled")[0]["target"] == f"response:{made.id}"
    request_id = "req_" + made.id.removeprefix("resp_")
    answered = next(e for e in service.events(event="chat.answered") if e["request_id"] == request_id)
    assert answered["outcome"] == "cancelled"


def test_only_what_is_in_the_background_can_be_cancelled_or_followed(client: OpenAI) -> None:
    made = client.responses.create(model=MODEL, input="Hi.", max_output_tokens=4)
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.cancel(made.id)
    assert caught.value.code == "not_in_background"
    with pytest.raises(openai.BadRequestError):
        list(client.responses.retrieve(made.id, stream=True))
    with pytest.raises(openai.BadRequestError) as unstored:
        client.responses.create(model=MODEL, input="Hi.", background=True, store=False)
    assert unstored.value.param == "background"


def test_a_client_that_leaves_cancels_and_what_came_is_kept(client: OpenAI) -> None:
    stream = client.responses.create(**LONG, stream=True)
    response_id = next(iter(stream)).response.id
    stream.close()
    kept = until_kept(client, response_id)
    assert kept.status == "cancelled"
    Response.model_validate(kept.to_dict(), strict=True)


def until_kept(client: OpenAI, response_id: str) -> Response:
    for _ in range(100):
        try:
            return client.responses.retrieve(response_id)
        except openai.NotFoundError:
            time.sleep(0.1)
    raise AssertionError("it was not kept")


def test_tokens_are_counted_as_they_are_used(client: OpenAI) -> None:
    first = client.responses.create(model=MODEL, input="My name is Ada.", max_output_tokens=8)
    asked: dict[str, Any] = {"model": MODEL, "input": "And yours?", "previous_response_id": first.id}
    counted = client.responses.input_tokens.count(**asked, instructions="Be short.")
    used = client.responses.create(**asked, instructions="Be short.", max_output_tokens=4)
    assert counted.object == "response.input_tokens"
    assert used.usage and counted.input_tokens == used.usage.input_tokens


def test_a_killed_worker_is_told_in_the_stream_and_kept(client: OpenAI, service: Service) -> None:
    stream = client.responses.create(**LONG, stream=True)
    events = iter(stream)
    response_id = next(events).response.id
    for _ in range(5):
        next(events)
    worker = service.page("GET", "/models").json()["models"][0]["worker"]
    os.kill(worker["pid"], signal.SIGKILL)
    rest = list(events)
    assert [event.type for event in rest[-2:]] == ["error", "response.failed"]
    assert rest[-2].code == "worker_died"
    kept = client.responses.retrieve(response_id)
    assert kept.status == "failed" and kept.error and kept.error.code == "server_error"
    assert kept.to_dict() == rest[-1].response.to_dict()
    assert kept.output[0].content[0].text  # type: ignore[union-attr]


async def test_the_asynchronous_client(service: Service) -> None:
    client = AsyncOpenAI(base_url=f"{service.address}/v1", api_key=service.new_key(), max_retries=0, timeout=110)
    async with client:
        asked = {"model": MODEL, "input": "Say hello.", "max_output_tokens": 40, "temperature": 0}
        several = await asyncio.gather(*[client.responses.create(**asked) for _ in range(2)])  # type: ignore[call-overload]
        assert all(response.output_text for response in several)
        async with client.responses.stream(model=MODEL, input="Say only: yes.", temperature=0) as stream:
            async for _ in stream:
                pass
            assert (await stream.get_final_response()).status == "completed"


def test_one_turn_of_a_conversation_at_a_time(client: OpenAI) -> None:
    conversation = client.conversations.create()
    made = client.responses.create(**LONG, background=True, conversation=conversation.id)
    with pytest.raises(openai.ConflictError) as caught:
        client.responses.create(model=MODEL, input="Hi.", conversation=conversation.id)
    assert caught.value.code == "conversation_busy"
    client.responses.cancel(made.id)
    assert list(client.conversations.items.list(conversation.id)) == []
    client.responses.create(model=MODEL, input="Hi.", conversation=conversation.id, max_output_tokens=4)
    assert len(list(client.conversations.items.list(conversation.id))) == 2


@pytest.mark.timeout(300)  # three starts
def test_restarts(fresh: Service) -> None:
    fresh.start()
    fresh.set_up()
    fresh.wait_ready()
    key = fresh.new_key()
    client = fresh.client(key)
    first = client.responses.create(model=MODEL, input="My name is Ada.", max_output_tokens=8)
    conversation = client.conversations.create(items=[{"role": "user", "content": "Hello."}])
    for how in (signal.SIGTERM, signal.SIGKILL):
        running = client.responses.create(**LONG, background=True)
        until(client, running.id, "in_progress")
        fresh.stop(how)
        fresh.start()
        fresh.sign_in()
        fresh.wait_ready()
        client = fresh.client(key)
        assert client.responses.retrieve(first.id).to_dict() == first.to_dict()
        assert len(list(client.conversations.items.list(conversation.id))) == 1
        ended = client.responses.retrieve(running.id)
        assert ended.status == "failed" and ended.error and ended.error.type == "interrupted"
        Response.model_validate(ended.to_dict(), strict=True)
        told = list(client.responses.retrieve(running.id, stream=True, starting_after=3))
        assert [event.type for event in told] == ["response.failed"]
    again = client.responses.create(model=MODEL, input="Who am I?", previous_response_id=first.id, max_output_tokens=4)
    assert again.usage and first.usage and again.usage.input_tokens > first.usage.input_tokens


def test_kills_lose_no_response_that_was_told_and_keep_none_without_its_record(fresh: Service) -> None:
    """Of a response and its record in the log there are both or neither, wherever the service is killed."""
    told: set[str] = set()
    key, chance = "", random.Random(5)

    def ask(client: OpenAI) -> None:
        try:
            while True:
                told.add(client.responses.create(model=MODEL, input="Hi.", max_output_tokens=1).id)
        except openai.APIConnectionError:
            return

    for _ in range(3):
        fresh.start()
        if not key:
            fresh.set_up()
            key = fresh.new_key()
        fresh.sign_in()
        fresh.wait_ready()
        asking = [threading.Thread(target=ask, args=(fresh.client(key),)) for _ in range(3)]
        before = len(told)
        for each in asking:
            each.start()
        while len(told) < before + 3:
            time.sleep(0.01)
        time.sleep(chance.random() / 10)
        fresh.stop(signal.SIGKILL)
        for each in asking:
            each.join()
    kept = {name for (name,) in databases.query(fresh.database, "SELECT id FROM responses")}
    answered = "SELECT request_id FROM audit_entries WHERE event = 'chat.answered'"
    recorded = {"resp_" + name.partition("_")[2] for (name,) in databases.query(fresh.database, answered)}
    holding = "SELECT DISTINCT response_id FROM response_items"
    with_items = {name for (name,) in databases.query(fresh.database, holding)}
    assert told <= kept
    assert kept == recorded == with_items


def test_what_cannot_be_kept_does_not_take_the_record_along(client: OpenAI, service: Service) -> None:
    """A person is removed while they are answered: nothing of theirs can be kept, but it was asked and answered."""
    key = person(service, "leaver")
    (leaver,) = [each for each in service.page("GET", "/people").json()["people"] if each["username"] == "leaver"]
    stream = service.client(key).responses.create(
        model=MODEL, input="Tell me of a river.", max_output_tokens=150, stream=True
    )
    events = iter(stream)
    response_id = next(events).response.id
    assert service.page("DELETE", f"/people/{leaver['id']}").status_code == 200
    rest = list(events)
    assert rest[-1].type == "response.failed"
    entries = service.events(event="chat.answered")
    assert "req_" + response_id.partition("_")[2] in [entry["request_id"] for entry in entries]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory, starter_wheel: Path) -> Iterator[Service]:
    """A service that keeps nothing, with a short context."""
    settings = {"INTRAMURAL_RESPONSES_KEEP_DAYS": "0", "INTRAMURAL_SERVING_CONTEXT_TOKENS": "512"}
    with Service(tmp_path_factory.mktemp("small") / "data", starter_wheel, settings).running() as service:
        yield service


def test_a_house_that_keeps_nothing_says_so(small: Service) -> None:
    client = small.client()
    made = raw(small, client, "POST", "/responses", json={"model": MODEL, "input": "Hi.", "max_output_tokens": 4})
    assert made.json()["store"] is False
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(made.json()["id"])
    with pytest.raises(openai.BadRequestError):
        client.responses.create(model=MODEL, input="Hi.", background=True)


def test_a_conversation_that_is_too_long_is_refused_or_shortened_as_asked(small: Service) -> None:
    client = small.client()
    turns: list[Any] = [{"role": "system", "content": "Be short."}]
    for n in range(8):
        turns += [{"role": "user", "content": f"{n}: " + "word " * 100}, {"role": "assistant", "content": "Yes."}]
    turns.append({"role": "user", "content": "What now?"})
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(model=MODEL, input=turns, max_output_tokens=4)
    assert caught.value.code == "context_length_exceeded"
    response = client.responses.create(model=MODEL, input=turns, truncation="auto", max_output_tokens=4)
    assert response.usage and 350 < response.usage.input_tokens <= 508 and response.truncation == "auto"
    last = [turns[0], turns[-1]]
    one = client.responses.create(model=MODEL, input=last, truncation="auto", max_output_tokens=4)
    assert one.usage and one.usage.input_tokens < 50
