"""Every command. Each asks the house over HTTP and renders the answer."""

import asyncio
import gc
import getpass
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import uvloop
from cyclopts import Parameter

from intramural import __version__
from intramural.cli.organisation import found_person
from intramural.cli.render import Out, size
from intramural.cli.root import DEFAULT, PAGE, Common, audit, cli, key, user, vault
from intramural.core.config import Config
from intramural.core.errors import Broken, Misasked, Missing
from intramural.core.temporary import keep_temporary_files_in

if TYPE_CHECKING:
    from intramural.cli.client import Client


@cli.command
def serve(*, common: Common = DEFAULT) -> None:
    """Serve the API and the page until stopped.

    Address, port and all else are settings: in `intramural.toml` in the data directory, or in the environment, as
    `INTRAMURAL_SERVER_PORT` (docs/reference/settings.md).
    """
    config = common.config
    keep_temporary_files_in(config.data_dir)
    # What is imported here stays for ever: to look for garbage in it again and again takes a tenth of the start.
    gc.disable()
    from intramural.cli.serve import serve as run_service

    gc.freeze()
    gc.enable()
    run_service(config, common.out)


@cli.command
def version(*, common: Common = DEFAULT) -> None:
    """Print the version."""
    common.out.record({"version": __version__}, main="version")


# models ---------------------------------------------------------------------------------------------------------------


@cli.command(name="ls")
def list_models(*, common: Common = DEFAULT) -> None:
    """List the models in the library."""

    async def act(client: "Client") -> None:
        models = (await client.get(f"{PAGE}/models"))["models"]
        columns = {
            "name": "NAME",
            "size": "SIZE",
            "quantisation": "QUANT",
            "trained_context_tokens": "CONTEXT",
            "trust": "TRUST",
            "state": "STATE",
        }
        common.out.table([{**m, "size": size(m["size_bytes"])} for m in models], columns)

    common.ask(act)


@cli.command(name="ps")
def list_workers(*, common: Common = DEFAULT) -> None:
    """List the workers: what runs, how much memory it takes, how it is confined."""

    async def act(client: "Client") -> None:
        models = (await client.get(f"{PAGE}/models"))["models"]
        rows = [
            {
                "name": m["name"],
                "state": m["state"],
                "pinned": m["pinned"],
                **m["worker"],
                "planned": size(m["worker"]["planned_bytes"]),
                "actual": size(m["worker"]["rss_bytes"]),
                "busy": f"{m['worker']['slots_busy']}/{m['worker']['slots']}",
            }
            for m in models
            if m["worker"]
        ]
        columns = {
            "name": "NAME",
            "state": "STATE",
            "pid": "PID",
            "planned": "PLANNED",
            "actual": "ACTUAL",
            "busy": "BUSY",
            "layers": "CONFINED BY",
        }
        common.out.table(rows, columns)

    common.ask(act)


@cli.command
def show(model: str, *, common: Common = DEFAULT) -> None:
    """Show one model."""

    async def act(client: "Client") -> None:
        models = (await client.get(f"{PAGE}/models"))["models"]
        found = next((m for m in models if m["name"] == model), None)
        if found is None:
            raise Missing("model_not_found", f"There is no model {model!r}.", "See `intramural ls`.")
        common.out.record(found, main="digest")

    common.ask(act)


@cli.command(name="rm")
def remove_model(model: str, *, common: Common = DEFAULT) -> None:
    """Take a model off the shelf."""

    async def act(client: "Client") -> None:
        await client.delete(f"{PAGE}/models/{model}")
        common.out.record({"removed": model}, main="removed")

    common.ask(act)


# asking ---------------------------------------------------------------------------------------------------------------


@cli.command
def run(
    model: str,
    prompt: str,
    *,
    system: str | None = None,
    max_tokens: int | None = None,
    temperature: float | None = None,
    seed: int | None = None,
    common: Common = DEFAULT,
) -> None:
    """Ask MODEL once. Works without a running service.

    Parameters
    ----------
    system
        What it is told before the question.
    max_tokens
        The answer is no longer than so many tokens.
    temperature
        How much is left to chance, 0 to 2.
    seed
        A number: the same one gives the same answer again.
    """

    async def act(client: "Client") -> None:
        messages = [{"role": "system", "content": system}] if system else []
        messages.append({"role": "user", "content": prompt})
        await _answer(client, common.out, model, messages, max_tokens=max_tokens, temperature=temperature, seed=seed)

    common.ask(act)


@cli.command
def chat(model: str | None = None, *, common: Common = DEFAULT) -> None:
    """Converse with MODEL (default: the first in the library) in the terminal. Nothing is kept."""

    async def act(client: "Client") -> None:
        name = model or await _first_model(client)
        out = common.out
        out.note(f"{name} — an empty line or Ctrl-D ends the conversation.")
        messages: list[dict[str, str]] = []
        while asked := await asyncio.to_thread(_prompt):
            messages.append({"role": "user", "content": asked})
            said = await _answer(client, out, name, messages)
            messages.append({"role": "assistant", "content": said})

    common.ask(act)


def _prompt() -> str:
    try:
        return input("> ").strip()
    except EOFError:
        return ""


async def _first_model(client: "Client") -> str:
    models = (await client.get("/v1/models"))["data"]
    if not models:
        raise Missing("model_not_found", "The library is empty.", "Get a model with `intramural pull`.")
    return str(models[0]["id"])


async def _answer(client: "Client", out: Out, model: str, messages: list[dict[str, str]], **sampling: Any) -> str:
    body = {"model": model, "messages": messages, "stream": True, "stream_options": {"include_usage": True}}
    body |= {k: v for k, v in sampling.items() if v is not None}
    said: list[str] = []
    usage: dict[str, Any] = {}
    async for chunk in client.events("/v1/chat/completions", body):
        usage = chunk.get("usage") or usage
        for choice in chunk["choices"]:
            text = choice["delta"].get("content") or ""
            said.append(text)
            out.text(text)
    out.text("\n")
    answer = "".join(said)
    out.json({"model": model, "content": answer, "usage": usage})
    return answer


# people and keys ------------------------------------------------------------------------------------------------------

ScopeName = Literal["inference", "chats", "admin", "metrics", "provision"]


@user.command(name="add")
def add_user(
    name: str,
    *,
    admin: Annotated[bool, Parameter(negative="")] = False,
    role: str = "member",
    service: Annotated[bool, Parameter(negative="")] = False,
    password_stdin: Annotated[bool, Parameter(negative="")] = False,
    common: Common = DEFAULT,
) -> None:
    """Add a person. The password is asked for, or read from standard input with --password-stdin.

    Parameters
    ----------
    admin
        As an administrator.
    role
        administrator, auditor, manager, member, or one of `intramural role ls`.
    service
        A service account, for a program: it has keys and no password.
    password_stdin
        Read the password from standard input.
    """
    password = None if service else _password(stdin=password_stdin)
    given = "service" if service and role == "member" else "administrator" if admin else role

    async def act(client: "Client") -> None:
        body = {"username": name, "password": password, "role": given}
        common.out.record(await client.post(f"{PAGE}/people", body), main="id")

    common.ask(act)


@user.command(name="ls")
def list_users(*, waiting: Annotated[bool, Parameter(negative="")] = False, common: Common = DEFAULT) -> None:
    """List the people.

    Parameters
    ----------
    waiting
        Only those who cannot sign in yet: no password, no passkey, no account at a provider.
    """

    async def act(client: "Client") -> None:
        people = (await client.get(f"{PAGE}/people", waiting="true" if waiting else None))["people"]
        rows = [{**p, "state": "disabled" if p["disabled_ms"] else "enabled"} for p in people]
        common.out.table(rows, {"username": "NAME", "role": "ROLE", "state": "STATE", "id": "ID"})

    common.ask(act)


@user.command(name="passwd")
def set_password(
    name: str, *, password_stdin: Annotated[bool, Parameter(negative="")] = False, common: Common = DEFAULT
) -> None:
    """Set a person's password; their sessions end.

    Parameters
    ----------
    password_stdin
        Read the password from standard input.
    """
    password = _password(stdin=password_stdin)
    _change_user(name, {"password": password}, common)


@user.command(name="role")
def set_role(name: str, role: str, *, common: Common = DEFAULT) -> None:
    """Change a person's role."""
    _change_user(name, {"role": role}, common)


@user.command
def disable(name: str, *, common: Common = DEFAULT) -> None:
    """Stop a person from signing in; sessions and keys end at once."""
    _change_user(name, {"disabled": True}, common)


@user.command
def enable(name: str, *, common: Common = DEFAULT) -> None:
    """Let a person sign in again."""
    _change_user(name, {"disabled": False}, common)


@user.command
def invite(name: str, *, common: Common = DEFAULT) -> None:
    """Make the secret of a link by which a person signs in at a provider for the first time."""

    async def act(client: "Client") -> None:
        person = await found_person(client, name)
        common.out.record(await client.post(f"{PAGE}/people/{person['id']}/invitation", {}), main="token")

    common.ask(act)


@user.command
def reset_factors(name: str, *, common: Common = DEFAULT) -> None:
    """Take away all second factors of a person who has lost them; their sessions end, their password stays."""

    async def act(client: "Client") -> None:
        person = await found_person(client, name)
        await client.delete(f"{PAGE}/people/{person['id']}/factors")
        common.out.record({"reset": name}, main="reset")

    common.ask(act)


@user.command(name="rm")
def remove_user(name: str, *, common: Common = DEFAULT) -> None:
    """Erase a person: destroy their keys and delete all that is kept of them. Prints the certificate."""

    async def act(client: "Client") -> None:
        person = await found_person(client, name)
        certificate = await client.delete(f"{PAGE}/people/{person['id']}")
        common.out.record({"removed": name, **certificate}, main="removed")

    common.ask(act)


@user.command(name="certificate")
def show_certificate(person_id: str, *, common: Common = DEFAULT) -> None:
    """Show the certificate of an erasure; the person's identifier is in the log."""

    async def act(client: "Client") -> None:
        common.out.record(await client.get(f"{PAGE}/erasures/{person_id}"), main="signature")

    common.ask(act)


@vault.command(name="change-key")
def change_vault_key(*, common: Common = DEFAULT) -> None:
    """Change the installation's key. Data keys are wrapped anew; nothing is sealed anew, and nobody has to wait.

    Cut off, it is finished at the next start. The old key opens nothing afterwards. Copy secrets/vault.key to where the
    old one is kept: without it a backup cannot be read.
    """

    async def act(client: "Client") -> None:
        common.out.record(await client.post(f"{PAGE}/vault/key", {}), main="changed")

    common.ask(act)


@vault.command(name="change-data-key")
def change_data_key(name: str, *, common: Common = DEFAULT) -> None:
    """Give a person a new data key and seal all that is kept of them anew, while they go on working."""

    async def act(client: "Client") -> None:
        person = await found_person(client, name)
        common.out.record(await client.post(f"{PAGE}/people/{person['id']}/data-key", {}), main="changed")

    common.ask(act)


def _change_user(name: str, change: dict[str, Any], common: Common) -> None:
    async def act(client: "Client") -> None:
        person = await found_person(client, name)
        common.out.record(await client.patch(f"{PAGE}/people/{person['id']}", change), main="id")

    common.ask(act)


def _password(*, stdin: bool) -> str:
    if stdin:
        return sys.stdin.readline().rstrip("\n")
    if not sys.stdin.isatty():
        raise Misasked("no_terminal", "There is no terminal to ask for the password.", "Use --password-stdin.")
    password = getpass.getpass("Password: ")
    if getpass.getpass("Again: ") != password:
        raise Misasked("passwords_differ", "The two passwords differ.", "Try again.")
    return password


@key.command(name="add")
def add_key(
    name: str,
    *,
    user: str,
    scope: list[ScopeName] | None = None,
    model: list[str] | None = None,
    days: int | None = None,
    workspace: str | None = None,
    common: Common = DEFAULT,
) -> None:
    """Make a key called NAME for a person's programs. The secret is printed this once.

    Parameters
    ----------
    user
        Whose programs.
    scope
        What it may be used for; once each, `inference` if not said.
    model
        A model that it may use; once each, any if not said.
    days
        It ends after so many days; never, if not said.
    workspace
        All that is asked with it is asked there.
    """

    async def act(client: "Client") -> None:
        person = await found_person(client, user)
        body = {
            "name": name,
            "person_id": person["id"],
            "scopes": scope or ["inference"],
            "models": model,
            "expires_in_days": days,
            "workspace": workspace,
        }
        made = await client.post(f"{PAGE}/keys", body)
        common.out.record({"secret": made["secret"], **made["key"]}, main="secret")

    common.ask(act)


@key.command(name="ls")
def list_keys(*, common: Common = DEFAULT) -> None:
    """List all keys."""

    async def act(client: "Client") -> None:
        keys = (await client.get(f"{PAGE}/keys", all="true"))["keys"]
        rows = [{**k, "state": "revoked" if k["revoked_ms"] else "valid"} for k in keys]
        columns = {
            "id": "ID",
            "name": "NAME",
            "username": "PERSON",
            "hint": "KEY",
            "scopes": "SCOPES",
            "models": "MODELS",
            "state": "STATE",
        }
        common.out.table(rows, columns)

    common.ask(act)


@key.command(name="rm")
def revoke_key(key_id: str, *, common: Common = DEFAULT) -> None:
    """Revoke a key at once."""

    async def act(client: "Client") -> None:
        await client.delete(f"{PAGE}/keys/{key_id}")
        common.out.record({"revoked": key_id}, main="revoked")

    common.ask(act)


# records --------------------------------------------------------------------------------------------------------------


@audit.command(name="ls")
def list_entries(*, limit: int = 20, event: str | None = None, common: Common = DEFAULT) -> None:
    """Show the newest entries. Reading the log is an event too.

    Parameters
    ----------
    limit
        How many entries.
    event
        Only this event (docs/reference/events.md), or all that begins so: `login.*`.
    """

    async def act(client: "Client") -> None:
        page = await client.get(f"{PAGE}/audit", limit=limit, event=event)
        rows = [{**e, "who": e["actor"]["username"]} for e in page["entries"]]
        columns = {
            "position": "#",
            "event": "EVENT",
            "who": "WHO",
            "target": "TARGET",
            "outcome": "OUTCOME",
            "request_id": "REQUEST",
        }
        common.out.table(rows, columns)

    common.ask(act)


@audit.command
def checkpoint(*, common: Common = DEFAULT) -> None:
    """Print the newest signed checkpoint. Keep it elsewhere: it is what makes a rewritten history visible."""

    async def act(client: "Client") -> None:
        note = (await client.get(f"{PAGE}/audit", limit=1))["checkpoint"]["note"]
        common.out.json({"checkpoint": note})
        common.out.text(note)

    common.ask(act)


@audit.command(name="verify")
def verify_log(*, held: Path | None = None, public_key: str | None = None, common: Common = DEFAULT) -> None:
    """Walk the log in the database itself and name the first wrong entry.

    Needs no service. Exit status 1 if anything is wrong.

    Parameters
    ----------
    held
        A file with a checkpoint that was kept elsewhere: the log has to go on from it.
    public_key
        The log's public key as it was handed out elsewhere; else that of this machine's log.
    """
    from intramural.audit import verify_database

    verdict = verify_database(
        common.config.database,
        public_key or _public_key(common.config),
        [] if held is None else [held.read_text("utf-8")],
    )
    record = {
        "ok": verdict.ok,
        "entries": verdict.size,
        "first_wrong": verdict.first_wrong,
        "before": verdict.before,
        "reason": verdict.reason,
    }
    common.out.record(record, main="ok")
    if not verdict.ok:
        sys.exit(1)


@audit.command(name="verify-receipt")
def verify_receipt(
    file: Path,
    *,
    public_key: str | None = None,
    prompt: Path | None = None,
    answer: Path | None = None,
    common: Common = DEFAULT,
) -> None:
    """Check the receipt in FILE offline: its signature, its entries and their proofs, against the log's public key.

    Parameters
    ----------
    public_key
        The key as it was handed out elsewhere; else that of this machine's log.
    prompt
        A file with the question that the receipt is said to be about: whoever asked can open its commitment.
    answer
        A file with the answer, likewise.
    """
    from intramural.services.receipts import verified

    given = {"prompt": prompt, "answer": answer}
    texts = {name: path.read_text("utf-8") for name, path in given.items() if path is not None}
    found = verified(file.read_bytes(), public_key or _public_key(common.config), texts)
    said = found.statement
    record = {
        "ok": True,
        "id": said["request_id"],
        "model": said["model"]["name"],
        "digest": said["model"]["digest"],
        "outcome": said["outcome"],
        "seed": said["seed"],
        "entries": [entry["position"] for entry in said["entries"]],
        "checkpoint": found.checkpoint_size,
        "texts": list(found.texts),
    }
    common.out.record(record, main="ok")


@audit.command(name="key")
def print_key(*, common: Common = DEFAULT) -> None:
    """Print the log's public key in C2SP form, for whoever verifies it elsewhere."""
    from intramural.audit import public_keys

    first, second = public_keys(common.config.data_dir / "secrets", common.config.audit.origin)
    common.out.record({"public_key": first, "second_public_key": second}, main="public_key")


def _public_key(config: Config) -> str:
    from intramural.audit import public_key

    return public_key(config.data_dir / "secrets", config.audit.origin)


@cli.command
def doctor(*, common: Common = DEFAULT) -> None:
    """Say which confinement this machine reaches and why, and whether a model would be served.

    Of a running service also what it gave up itself, what the kernel says holds around each of its processes, and what
    these tried and were refused.
    """
    from intramural import app
    from intramural.cli.client import connected

    async def running() -> dict[str, Any]:
        async with connected(common.config, running=True) as client:
            machine = await client.get(f"{PAGE}/machine")
        return {name: machine[name] for name in ("seal", "processes", "denied")}

    verdict = uvloop.run(app.diagnose(common.config))
    with suppress(Missing):
        verdict |= uvloop.run(running())
    common.out.record(verdict, main="level")
    if not verdict["serves_models"]:
        raise Broken(
            "confinement_too_weak",
            f"The settings ask for {verdict['required']!r}; this machine reaches {verdict['level']!r}.",
            "Mend what the reasons say, or lower `sandbox.required_level` knowingly.",
        )
