"""The page's files: headers, caching, compression, and what happens while nothing is built."""

import gzip
from pathlib import Path
from typing import Any

import pytest

from intramural.web import CONTENT_SECURITY_POLICY, Page

INDEX = b"<!doctype html><title>intramural</title>" + b" " * 500
SCRIPT = b"export const answer = 42;\n" * 40


class Answer:
    """What an ASGI application sent."""

    def __init__(self, messages: list[dict[str, Any]]) -> None:
        self.status: int = messages[0]["status"]
        self.headers = {name.decode(): value.decode() for name, value in messages[0]["headers"]}
        self.body = b"".join(message.get("body", b"") for message in messages[1:])


async def ask(app: Any, path: str, method: str = "GET", **headers: str) -> Answer:
    """One request, handed to the application as a server would."""
    sent: list[dict[str, Any]] = []
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()],
    }

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return Answer(sent)


@pytest.fixture
def dist(tmp_path: Path) -> Path:
    root = tmp_path / "dist"
    (root / "assets").mkdir(parents=True)
    (root / "index.html").write_bytes(INDEX)
    (root / "assets" / "index-Abc_1-2x.js").write_bytes(SCRIPT)
    (root / "assets" / "index-Abc_1-2x.js.gz").write_bytes(gzip.compress(SCRIPT))
    (root / "mark.svg").write_text("<svg/>")
    (tmp_path / "secret").write_text("not for anybody")
    return root


async def test_every_answer_carries_the_security_headers(dist: Path) -> None:
    for path in ("/", "/assets/index-Abc_1-2x.js", "/mark.svg", "/nothing"):
        answer = await ask(Page(dist), path)
        assert answer.headers["content-security-policy"] == CONTENT_SECURITY_POLICY
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cross-origin-opener-policy"] == "same-origin"


def test_the_policy_names_no_other_host_and_nothing_unsafe() -> None:
    assert "unsafe" not in CONTENT_SECURITY_POLICY
    assert "://" not in CONTENT_SECURITY_POLICY
    assert "*" not in CONTENT_SECURITY_POLICY


async def test_hashed_assets_are_kept_for_ever_and_the_index_is_asked_for_again(dist: Path) -> None:
    page = Page(dist)
    assert (await ask(page, "/assets/index-Abc_1-2x.js")).headers["cache-control"] == (
        "public, max-age=31536000, immutable"
    )
    assert (await ask(page, "/")).headers["cache-control"] == "no-cache"
    assert (await ask(page, "/mark.svg")).headers["cache-control"] == "no-cache"


async def test_types_are_exact(dist: Path) -> None:
    page = Page(dist)
    assert (await ask(page, "/")).headers["content-type"] == "text/html; charset=utf-8"
    assert (await ask(page, "/assets/index-Abc_1-2x.js")).headers["content-type"] == "text/javascript; charset=utf-8"
    assert (await ask(page, "/mark.svg")).headers["content-type"] == "image/svg+xml"


async def test_unchanged_files_cost_a_304(dist: Path) -> None:
    page = Page(dist)
    first = await ask(page, "/")
    again = await ask(page, "/", if_none_match=f'"other", W/{first.headers["etag"]}')
    assert (again.status, again.body) == (304, b"")


@pytest.mark.parametrize(
    ("accept", "squeezed"),
    [
        ("gzip, deflate, br", True),
        ("br;q=1.0, gzip;q=0.5", True),
        ("identity", False),
        ("gzip;q=0", False),
        ("", False),
    ],
)
async def test_the_compressed_twin_goes_to_those_who_take_it(dist: Path, accept: str, squeezed: bool) -> None:
    answer = await ask(Page(dist), "/assets/index-Abc_1-2x.js", accept_encoding=accept)
    assert ("content-encoding" in answer.headers) is squeezed
    assert (gzip.decompress(answer.body) if squeezed else answer.body) == SCRIPT
    assert int(answer.headers["content-length"]) == len(answer.body)
    assert answer.headers["vary"] == "Accept-Encoding"


async def test_head_has_the_headers_only(dist: Path) -> None:
    answer = await ask(Page(dist), "/", "HEAD")
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["content-length"] == str(len(INDEX))


@pytest.mark.parametrize(
    "path",
    [
        "/../secret",
        "/assets/../../secret",
        "/%2e%2e/secret",
        "//etc/passwd",
        "/..\\secret",
        "/assets/index-Abc_1-2x.js.gz",
        "/assets",
        "/index.html/",
        "/\x00",
    ],
)
async def test_a_path_is_looked_up_never_followed(dist: Path, path: str) -> None:
    assert (await ask(Page(dist), path)).status == 404


async def test_nothing_can_be_written(dist: Path) -> None:
    answer = await ask(Page(dist), "/", "POST")
    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")


async def test_without_a_build_it_says_what_to_do_and_a_later_build_needs_no_restart(tmp_path: Path) -> None:
    page = Page(tmp_path / "dist")
    answer = await ask(page, "/")
    assert answer.status == 503
    assert b"make ui" in answer.body
    assert answer.headers["content-security-policy"] == CONTENT_SECURITY_POLICY
    (tmp_path / "dist").mkdir()
    (tmp_path / "dist" / "index.html").write_bytes(INDEX)
    assert (await ask(page, "/")).body == INDEX
