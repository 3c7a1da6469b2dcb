"""Files with the official Anthropic client: the same ones that other dialects show, in its own form."""

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import anthropic
import pytest
import requests
from anthropic import Anthropic
from anthropic.types.beta import BetaFileMetadata
from openai import OpenAI
from tests.fakes.pictures import png
from tests.service import MODEL, Service


@pytest.fixture(scope="module")
def key(service: Service) -> str:
    return service.new_key()


@pytest.fixture(scope="module")
def claude(service: Service, key: str) -> Iterator[Anthropic]:
    with Anthropic(base_url=service.address, api_key=key, max_retries=0, timeout=60) as client:
        yield client


def strict(file: BetaFileMetadata) -> BetaFileMetadata:
    return BetaFileMetadata.model_validate_json(json.dumps(file.to_dict(mode="json")), strict=True)


def test_a_file_from_upload_to_deletion(service: Service, claude: Anthropic) -> None:
    data = bytes(range(256)) * 5_000
    file = strict(claude.beta.files.upload(file=("Größe «1».pdf", data)))
    assert (file.size_bytes, file.filename, file.mime_type) == (len(data), "Größe «1».pdf", "application/pdf")
    assert (file.type, file.downloadable, file.expires_at, file.scope) == ("file", True, None, None)
    assert claude.beta.files.retrieve_metadata(file.id) == file
    assert claude.beta.files.download(file.id).read() == data
    raw = claude.beta.files.with_raw_response.download(file.id)
    assert "sandbox" in raw.headers["Content-Security-Policy"] and raw.headers["request-id"].startswith("req_")
    assert claude.beta.files.delete(file.id).type == "file_deleted"
    with pytest.raises(anthropic.NotFoundError) as gone:
        claude.beta.files.retrieve_metadata(file.id)
    assert gone.value.error_code == "file_not_found" and gone.value.request_id
    found = [entry["event"] for entry in service.events() if entry["target"] == f"file:{file.id}"]
    assert found == ["file.deleted", "file.read", "file.read", "file.stored"]


def test_two_dialects_show_the_same_files(claude: Anthropic, client: OpenAI) -> None:
    theirs = client.files.create(file=("a.txt", b"one"), purpose="assistants")
    ours = claude.files.upload(file=("b.md", b"two"))
    assert claude.files.retrieve_metadata(theirs.id).filename == "a.txt"
    shown = client.files.retrieve(ours.id)
    assert (shown.filename, shown.purpose, shown.bytes) == ("b.md", "user_data", 3)
    assert {theirs.id, ours.id} <= {file.id for file in claude.files.list()}
    for file_id in (theirs.id, ours.id):
        claude.files.delete(file_id)


def test_pages(service: Service, claude: Anthropic, key: str) -> None:
    made = [claude.beta.files.upload(file=(f"{n}.txt", b"x")).id for n in range(5)]
    everything = [file.id for file in claude.beta.files.list(limit=2)]
    assert everything == sorted(everything, reverse=True) and set(made) <= set(everything)
    wanted = claude.beta.files.list(ids=[made[0], made[3], "file_nobody"])
    assert [file.id for file in wanted] == [made[3], made[0]] and wanted.next_page is None

    def older_clients(**query: Any) -> tuple[list[str], dict[str, Any]]:
        headers = {"x-api-key": key, "anthropic-version": "2023-06-01"}
        answer = requests.get(f"{service.address}/v1/files", headers=headers, params=query, timeout=20).json()
        return [file["id"] for file in answer["data"]], answer

    newest, page = older_clients(limit=2)
    assert newest == [made[4], made[3]] and (page["first_id"], page["last_id"]) == (made[4], made[3])
    assert older_clients(limit=2, after_id=made[3])[0] == [made[2], made[1]]
    before, page = older_clients(limit=2, before_id=made[1])
    assert before == [made[3], made[2]] and page["has_more"] and page["next_page"] is None
    assert older_clients(limit=20, before_id=made[2])[1]["has_more"] is False
    for each in made:
        claude.beta.files.delete(each)


def test_expiry(claude: Anthropic) -> None:
    file = claude.beta.files.upload(file=("a.txt", b"x"), expires_in_seconds=7_776_000)
    assert file.expires_at == file.created_at + timedelta(days=90)
    claude.beta.files.delete(file.id)


@pytest.mark.parametrize(
    "query",
    [
        {"limit": 0},
        {"page": "file_1"},
        {"scope_id": "sesn_1"},
        {"ids": ["file_1"], "limit": 2},
        {"extra_query": {"before_id": "a", "after_id": "b"}},
        {"ids": [f"file_{n}" for n in range(101)]},
    ],
)
def test_what_is_wrong_with_a_list_is_named(claude: Anthropic, query: dict[str, Any]) -> None:
    with pytest.raises(anthropic.BadRequestError) as wrong:
        claude.beta.files.list(**query)
    assert wrong.value.type == "invalid_request_error"


def test_what_is_wrong_with_an_upload_is_named(service: Service, claude: Anthropic) -> None:
    before = {file.name for file in (service.data_dir / "files").iterdir()}
    with pytest.raises(anthropic.BadRequestError, match="expires_in_seconds"):
        claude.beta.files.upload(file=("a", b"x"), expires_in_seconds=60)
    with pytest.raises(anthropic.BadRequestError, match="purpose"):
        claude.beta.files.upload(file=("a", b"x"), extra_body={"purpose": "batch"})
    with pytest.raises(anthropic.BadRequestError, match="workspaces"):
        claude.beta.files.upload(file=("a", b"x"), workspace_id="wrkspc_1")
    assert {file.name for file in (service.data_dir / "files").iterdir()} == before


def test_an_image_is_named_in_a_message(claude: Anthropic) -> None:
    file = claude.beta.files.upload(file=("a.png", png(8, 8)))
    content: Any = [{"type": "image", "source": {"type": "file", "file_id": file.id}}, {"type": "text", "text": "?"}]
    with pytest.raises(anthropic.BadRequestError, match="image") as blind:
        claude.beta.messages.create(model=MODEL, max_tokens=2, messages=[{"role": "user", "content": content}])
    assert blind.value.error_code != "file_not_found"  # it was found; this model does not see
    claude.beta.files.delete(file.id)
