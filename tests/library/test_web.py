"""HTTP for the sources, against a server that lies."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.direct import direct
from tests.fakes.web import Reply, Request, WebServer, certificate, file_reply, serving

from intramural import __version__
from intramural.core.errors import Broken, IntramuralError, Misasked, Missing, Refused, Unavailable, Untrusted
from intramural.library.sources.reach import Limits, Reach, only
from intramural.library.sources.web import Web, host_of

BODY = os.urandom(300_000)
QUICK = Limits(connect_timeout_s=5, answer_timeout_s=5, stall_timeout_s=0.2, backoff_s=0.001, tries=4)


def web(*servers: WebServer, limits: Limits = QUICK, ca_file: Path | None = None) -> Web:
    return Web(only(*(server.host for server in servers)), Reach(direct, ca_file, limits=limits))


async def whole(fetcher: Web, url: str, offset: int = 0, etag: str | None = None, secret: str | None = None) -> bytes:
    stream = fetcher.stream(url, size_bytes=len(BODY), offset=offset, etag=etag, secret=secret)
    return b"".join([chunk async for chunk in stream])


def in_turn(*replies: Callable[[Request], Reply]) -> Callable[[Request], Reply]:
    """The first answers the first request, and so on; the last answers all others."""
    left = list(replies)
    return lambda request: (left.pop(0) if len(left) > 1 else left[0])(request)


def honest(request: Request) -> Reply:
    return file_reply(request, BODY)


def cut(after: int) -> Callable[[Request], Reply]:
    def respond(request: Request) -> Reply:
        reply = file_reply(request, BODY)
        reply.cut_after = after
        return reply

    return respond


async def test_a_file_comes_whole_and_from_the_middle() -> None:
    async with serving(honest) as server:
        assert await whole(web(server), f"{server.url}/a") == BODY
        assert await whole(web(server), f"{server.url}/a", offset=123_457) == BODY[123_457:]
        assert await whole(web(server), f"{server.url}/a", offset=len(BODY)) == b""
    assert server.ranges() == [None, "bytes=123457-"]
    headers = server.seen[0].headers
    assert headers["user-agent"] == f"intramural/{__version__}"
    assert set(headers) == {"host", "user-agent", "accept", "accept-encoding", "connection"}
    assert headers["accept-encoding"] == "identity"


async def test_a_cut_connection_is_taken_up_where_it_stopped() -> None:
    async with serving(in_turn(cut(100_000), cut(70_000), honest)) as server:
        assert await whole(web(server), f"{server.url}/a") == BODY
    assert server.ranges() == [None, "bytes=100000-", "bytes=170000-"]
    assert [seen.headers.get("if-range") for seen in server.seen] == [None, '"v1"', '"v1"']


async def test_a_server_without_ranges_is_read_from_the_start() -> None:
    def plain(request: Request) -> Reply:
        return file_reply(request, BODY, ranges=False, etag=None)

    async with serving(plain) as server:
        assert await whole(web(server), f"{server.url}/a", offset=200_000) == BODY[200_000:]


async def test_a_body_that_ends_early_for_good() -> None:
    async with serving(lambda _: Reply(200, {}, BODY[:-1], length=None)) as server:
        with pytest.raises(Broken) as broken:
            await whole(web(server), f"{server.url}/a")
    assert broken.value.code == "source_ended_early"
    assert len(server.seen) == QUICK.tries


async def test_never_a_byte_more_than_announced() -> None:
    got = bytearray()
    async with serving(lambda _: Reply(200, {}, BODY[:1000], endless=True)) as server:
        with pytest.raises(Untrusted) as refused:
            async for chunk in web(server).stream(f"{server.url}/a", size_bytes=len(BODY)):
                got += chunk
    assert refused.value.code == "source_too_long"
    assert len(got) <= len(BODY)


@pytest.mark.parametrize("size", [len(BODY) + 1, len(BODY) - 1])
async def test_another_length_than_announced_is_refused_at_once(size: int) -> None:
    async with serving(honest) as server:
        with pytest.raises(Untrusted) as refused:
            await anext(web(server).stream(f"{server.url}/a", size_bytes=size))
    assert refused.value.code == "source_wrong_size"


def other_etag(request: Request) -> Reply:
    return file_reply(request, BODY, etag='"v2"')


def longer(request: Request) -> Reply:
    return file_reply(request, BODY + b"x")


def shorter(request: Request) -> Reply:
    return file_reply(request, BODY[:1000])


def elsewhere(request: Request) -> Reply:
    return Reply(206, {"Content-Range": f"bytes 0-{len(BODY) - 1}/{len(BODY)}"}, BODY)


@pytest.mark.parametrize("then", [other_etag, longer, shorter, elsewhere])
async def test_changed_between_resume(then: Callable[[Request], Reply]) -> None:
    async with serving(in_turn(cut(100_000), then)) as server:
        with pytest.raises(Untrusted) as refused:
            await whole(web(server), f"{server.url}/a")
    assert refused.value.code == "source_changed"


async def test_changed_since_it_was_looked_up() -> None:
    async with serving(honest) as server:
        with pytest.raises(Untrusted) as refused:
            await whole(web(server), f"{server.url}/a", offset=5, etag='"v0"')
    assert refused.value.code == "source_changed"
    assert server.seen[0].headers["if-range"] == '"v0"'


@pytest.mark.parametrize("status", [429, 503])
async def test_busy_servers_are_asked_again(status: int) -> None:
    def busy(_: Request) -> Reply:
        return Reply(status, {"Retry-After": "0"})

    async with serving(in_turn(busy, busy, honest)) as server:
        assert await whole(web(server), f"{server.url}/a") == BODY
    assert len(server.seen) == 3


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({"Retry-After": "3600"}, 3600),
        ({"Retry-After": "99999999999999"}, 86_400),
        ({"Retry-After": "Wed, 21 Oct 2026 08:00:00 GMT", "Date": "Wed, 21 Oct 2026 07:28:00 GMT"}, 1920),
    ],
)
async def test_who_asks_for_more_patience_than_we_have_is_reported(headers: dict[str, str], wait_s: float) -> None:
    async with serving(lambda _: Reply(503, headers)) as server:
        with pytest.raises(Unavailable) as busy:
            await web(server).ask(f"{server.url}/a")
    assert (busy.value.code, busy.value.retry_after_s) == ("source_busy", wait_s)
    assert len(server.seen) == 1


async def test_who_stays_busy_is_reported() -> None:
    async with serving(lambda _: Reply(429, {"Retry-After": "soon"})) as server:
        with pytest.raises(Unavailable):
            await web(server).ask(f"{server.url}/a")
    assert len(server.seen) == QUICK.tries


async def test_silence_is_given_up_on() -> None:
    def stall(request: Request) -> Reply:
        reply = file_reply(request, BODY)
        reply.stall_after = 10
        return reply

    async with serving(stall) as server:
        with pytest.raises(Unavailable) as stalled:
            await whole(web(server), f"{server.url}/a")
    assert stalled.value.code == "source_stalled"
    assert server.ranges() == [None, "bytes=10-", "bytes=20-", "bytes=30-"]


async def test_next_to_nothing_is_given_up_on_as_well() -> None:
    async with serving(lambda _: Reply(200, {}, BODY, drip_s=0.01)) as server:
        with pytest.raises(Unavailable) as stalled:
            await whole(web(server), f"{server.url}/a")
    assert stalled.value.code == "source_stalled"


async def test_small_answers_are_small() -> None:
    async with serving(lambda _: Reply(200, {}, b"[", endless=True)) as server:
        with pytest.raises(Untrusted) as refused:
            await web(server).ask(f"{server.url}/a")
    assert refused.value.code == "source_too_long"


async def test_compressed_data_was_not_asked_for() -> None:
    async with serving(lambda _: Reply(200, {"Content-Encoding": "gzip"}, b"\x1f\x8b")) as server:
        with pytest.raises(Broken) as broken:
            await web(server).ask(f"{server.url}/a")
    assert broken.value.code == "source_bad_answer"


@pytest.mark.parametrize(
    ("status", "error", "code"),
    [
        (404, Missing, "source_not_found"),
        (410, Missing, "source_not_found"),
        (401, Refused, "source_denied"),
        (403, Refused, "source_denied"),
        (418, Broken, "source_bad_answer"),
        (304, Broken, "source_bad_answer"),
    ],
)
async def test_statuses(status: int, error: type[IntramuralError], code: str) -> None:
    async with serving(lambda _: Reply(status)) as server:
        with pytest.raises(error) as raised:
            await web(server).ask(f"{server.url}/a?token=hush")
    assert raised.value.code == code
    assert "hush" not in str(raised.value)


async def test_what_is_no_json() -> None:
    async with serving(lambda _: Reply(200, {}, b"{\xff")) as server:
        answer = await web(server).ask(f"{server.url}/a")
    for read in (answer.json, answer.text):
        with pytest.raises(Broken):
            read()


async def test_a_redirect_is_followed_where_it_is_allowed_and_no_secret_goes_along() -> None:
    async with serving(honest) as cdn, serving(lambda _: Reply(302, {"Location": f"{cdn.url}/b?sig=1"})) as hub:
        assert await whole(web(hub, cdn), f"{hub.url}/a", secret="Bearer s3cret") == BODY
    assert hub.seen[0].headers["authorization"] == "Bearer s3cret"
    assert "authorization" not in cdn.seen[0].headers
    assert "s3cret" not in str(cdn.seen)


async def test_a_redirect_on_the_same_host_keeps_the_secret() -> None:
    def respond(request: Request) -> Reply:
        return honest(request) if request.path == "/b" else Reply(307, {"Location": "/b"})

    async with serving(respond) as server:
        assert await whole(web(server), f"{server.url}/a", secret="Bearer s3cret") == BODY
    assert [seen.headers["authorization"] for seen in server.seen] == ["Bearer s3cret"] * 2


async def test_a_redirect_elsewhere_is_refused_and_names_the_host() -> None:
    async with serving(honest) as evil, serving(lambda _: Reply(302, {"Location": f"{evil.url}/b"})) as server:
        with pytest.raises(Refused) as refused:
            await whole(web(server), f"{server.url}/a")
    assert refused.value.code == "redirect_refused"
    assert evil.host in refused.value.message
    assert evil.seen == []


@pytest.mark.parametrize(
    "location",
    ["", "http://example.org/x", "file:///etc/passwd", "https://u:p@127.0.0.1/", "//", "https://[", "x" * 99],
)
async def test_redirects_to_nowhere(location: str) -> None:
    async with serving(lambda _: Reply(302, {"Location": location})) as server:
        with pytest.raises((Refused, Broken)):
            await web(server).ask(f"{server.url}/a")
    assert len(server.seen) <= QUICK.redirects + 1


async def test_from_encrypted_to_plain_is_refused(tmp_path: Path) -> None:
    context, ca_file = certificate(tmp_path, "127.0.0.1")
    async with (
        serving(honest) as plain,
        serving(lambda _: Reply(302, {"Location": f"{plain.url}/b"}), tls=context) as server,
    ):
        with pytest.raises(Refused) as refused:
            await web(server, plain, ca_file=ca_file).ask(f"{server.url}/a")
    assert refused.value.code == "redirect_refused"
    assert plain.seen == []


async def test_hosts_are_asked_for_leave_first() -> None:
    async with serving(honest) as server:
        with pytest.raises(Refused) as refused:
            await Web(only("example.org", "*.example.org")).ask(f"{server.url}/a")
    assert refused.value.code == "host_refused"
    assert server.seen == []


def test_an_allow_list_means_what_it_says() -> None:
    allow = only("example.org", "*.cdn.example.org")
    allow("example.org")
    allow("eu.cdn.example.org")
    for host in ("example.org:8443", "cdn.example.org", "example.org.evil.net", "evilcdn.example.org", ""):
        with pytest.raises(Refused):
            allow(host)


@pytest.mark.parametrize(
    "url",
    ["", "x", "http://example.org/a", "ftp://example.org", "https://u:p@example.org/", "https:///a", "https://[/"],
)
async def test_addresses_that_are_none(url: str) -> None:
    with pytest.raises(Misasked) as refused:
        await Web(only("*")).ask(url)
    assert refused.value.code == "bad_url"


def test_hosts_are_spelt_one_way() -> None:
    assert host_of("https://EXAMPLE.org:443/x") == "example.org"
    assert host_of("https://example.org:444/x") == "example.org:444"
    assert host_of("http://[::1]:80/") == "[::1]"
    assert host_of("https://bücher.example/") == "xn--bcher-kva.example"


async def test_certificates(tmp_path: Path) -> None:
    context, ca_file = certificate(tmp_path, "127.0.0.1")
    async with serving(honest, tls=context) as server:
        assert await whole(web(server, ca_file=ca_file), f"{server.url}/a") == BODY
        with pytest.raises(Untrusted) as refused:
            await whole(web(server), f"{server.url}/a")
        assert refused.value.code == "bad_tls"
        with pytest.raises(Misasked) as misasked:
            await whole(web(server, ca_file=tmp_path / "nothing"), f"{server.url}/a")
        assert misasked.value.code == "bad_ca_file"
    assert len(server.seen) == 1


async def test_a_certificate_for_another_name(tmp_path: Path) -> None:
    context, ca_file = certificate(tmp_path, "other.example.org")
    async with serving(honest, tls=context) as server:
        with pytest.raises(Untrusted) as refused:
            await whole(web(server, ca_file=ca_file), f"{server.url}/a")
    assert refused.value.code == "bad_tls"
    assert server.seen == []


async def test_nobody_there() -> None:
    async with serving(honest) as server:
        pass
    with pytest.raises(Unavailable) as unreachable:
        await web(server).ask(f"{server.url}/a")
    assert unreachable.value.code == "source_unreachable"


async def test_probes_and_pieces() -> None:
    def no_head(request: Request) -> Reply:
        return Reply(405) if request.method == "HEAD" else honest(request)

    def bare(request: Request) -> Reply:
        return file_reply(request, BODY, ranges=False, etag=None)

    async with serving(honest) as server:
        for respond in (honest, no_head):
            server.respond = respond
            probe = await web(server).probe(f"{server.url}/a")
            assert (probe.size_bytes, probe.etag, probe.takes_ranges) == (len(BODY), '"v1"', True)
        assert await web(server).read(f"{server.url}/a", offset=7, size_bytes=10) == BODY[7:17]
        assert await web(server).read(f"{server.url}/a", offset=len(BODY) - 3, size_bytes=10) == BODY[-3:]
        server.respond = bare
        assert (await web(server).probe(f"{server.url}/a")).size_bytes == len(BODY)
        assert await web(server).read(f"{server.url}/a", offset=0, size_bytes=10) == BODY[:10]
        with pytest.raises(Broken):
            await web(server).read(f"{server.url}/a", offset=7, size_bytes=10)


async def test_cancelling_lets_go_at_once() -> None:
    async with serving(lambda _: Reply(200, {}, BODY, stall_after=10)) as server:
        slow = Web(only(server.host), Reach(direct, limits=Limits(stall_timeout_s=60)))
        task = asyncio.create_task(whole(slow, f"{server.url}/a"))
        while not server.seen:
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_the_environment_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with serving(honest) as server:
        assert await whole(web(server), f"{server.url}/a") == BODY
