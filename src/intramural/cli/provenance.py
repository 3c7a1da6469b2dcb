"""`intramural sign | verify | sync | bundle | sbom`."""

import datetime
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from intramural.cli.render import Out, size
from intramural.cli.root import DEFAULT, PAGE, Common, cli
from intramural.core.clock import SystemClock
from intramural.core.durable import ORDINARY, write_whole
from intramural.core.errors import IntramuralError, Misasked, Unavailable, Untrusted

if TYPE_CHECKING:
    from intramural.cli.client import Client

ROUTES = f"{PAGE}/provenance"
bundle = App(name="bundle", help="Models for a machine without network, as one file that it can check.")
cli.command(bundle)

Key = Annotated[Path, Parameter(help="Private key, PEM, EC P-256, P-384 or P-521.")]
Certificate = Annotated[Path | None, Parameter(help="The key's certificate, PEM.")]
Chain = Annotated[list[Path] | None, Parameter(help="Certificates above it, PEM; once each.", negative="")]


def _key_files(client: "Client", key: Path, certificate: Path | None, chain: list[Path] | None) -> dict[str, Any]:
    return {
        "key": client.lending.path(key),
        "certificate": None if certificate is None else client.lending.path(certificate),
        "chain": [client.lending.path(each) for each in chain or []],
    }


@cli.command
def sign(
    model: str, *, key: Key, certificate: Certificate = None, chain: Chain = None, common: Common = DEFAULT
) -> None:
    """Sign MODEL in the OpenSSF format. It counts here once the public key or its authority is in `trust/`."""

    async def act(client: "Client") -> None:
        files = _key_files(client, key, certificate, chain)
        signed = await client.post(f"{ROUTES}/sign", {"model": model, "key": files})
        common.out.record({name: each for name, each in signed.items() if name != "doubt" or each}, main="trust")

    common.ask(act)


@cli.command
def verify(
    *models: str,
    all_: Annotated[bool, Parameter(name="--all", negative="", help="All of them; so it is with none named.")] = False,
    common: Common = DEFAULT,
) -> None:
    """Hash every byte of MODELS again and check signatures and trust. Exit status 1 if anything is wrong."""
    if all_ and models:
        raise Misasked("bad_usage", "Models are named and --all is given.", "Give one of the two.")

    async def act(client: "Client") -> None:
        rows = [_verdict(each) async for each in client.events(f"{ROUTES}/check", {"models": list(models)})]
        columns = {"name": "NAME", "verdict": "VERDICT", "trust": "TRUST", "signer": "SIGNER", "digest": "DIGEST"}
        common.out.table(rows, columns)
        _exit([row["problem"] for row in rows])

    common.ask(act)


def _verdict(checked: dict[str, Any]) -> dict[str, Any]:
    problem = checked["problem"]
    verdict = problem["code"] if problem else "matches"
    return {"name": checked["model"], "verdict": verdict, **checked}


def _exit(problems: list[dict[str, str] | None]) -> None:
    """Say what is wrong, on stderr, and end with status 1 if anything is."""
    found = [each for each in problems if each]
    for each in found:
        Out.report(Untrusted(each["code"], each["message"], each["hint"]))
    if found:
        sys.exit(1)


# models.lock ----------------------------------------------------------------------------------------------------------


@cli.command
def sync(
    lock: Path = Path("models.lock"),
    *,
    write: Annotated[bool, Parameter(negative="", help="Write LOCK from what is here instead.")] = False,
    prune: Annotated[bool, Parameter(negative="", help="Remove models that are not in LOCK.")] = False,
    plan: Annotated[bool, Parameter(negative="", help="Only say what would be done.")] = False,
    common: Common = DEFAULT,
) -> None:
    """Make this machine have what LOCK says, to the byte. A source that now has something else is refused."""
    if write:
        _write_lock(lock, common)
        return
    try:
        text = lock.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        hint = "Name one, or write one of what is here: `intramural sync --write models.lock`."
        raise Misasked("bad_lock", f"{lock} cannot be read: {error}.", hint) from error

    async def act(client: "Client") -> None:
        body = {"lock": text, "prune": prune, "plan_only": plan}
        last: dict[str, dict[str, Any]] = {}
        with common.out.progress() as bar:
            task = bar.add_task("comparing", total=None)
            async for each in client.events(f"{ROUTES}/sync", body):
                last[each["model"]] = each
                if progress := each["progress"]:
                    said = f"{each['model']} {progress['step']}"
                    bar.update(task, description=said, completed=progress["done_bytes"], total=progress["total_bytes"])
        rows = [{"name": name, **each} for name, each in last.items()]
        common.out.table(rows, {"name": "NAME", "act": "ACT", "state": "STATE"})
        for row in rows:
            for change in row["changes"]:
                before, after = change["found"] or "none", change["locked"] or "none"
                common.out.note(f"{row['name']}: {change['what']}\n  - {before}\n  + {after}")
        _exit([row["problem"] for row in rows])

    common.ask(act)


def _write_lock(lock: Path, common: Common) -> None:
    async def act(client: "Client") -> None:
        text = (await client.get(f"{ROUTES}/lock"))["lock"]
        write_whole(lock, text.encode(), mode=ORDINARY)
        common.out.record({"written": str(lock), "models": text.count("[[model]]")}, main="written")

    common.ask(act)


# bundles --------------------------------------------------------------------------------------------------------------


@bundle.command(name="export")
def export_bundle(
    *models: str,
    to: Annotated[Path | None, Parameter(help="The file or folder to write; must not exist.")] = None,
    sign: Annotated[Path | None, Parameter(help="Private key to sign it with, PEM.")] = None,
    certificate: Certificate = None,
    chain: Chain = None,
    unsigned: Annotated[bool, Parameter(negative="", help="Do not sign it: worth no more than a file.")] = False,
    have: Annotated[
        list[Path] | None, Parameter(negative="", help="models.lock or bundle of the other side: leave that out.")
    ] = None,
    folder: Annotated[bool, Parameter(negative="", help="A folder instead of one file.")] = False,
    common: Common = DEFAULT,
) -> None:
    """Write MODELS, with signatures, licences and bill of materials, into one file for a machine without network."""
    if (sign is None) is not unsigned:
        raise Misasked("bad_usage", "Say who makes the bundle.", "Give --sign KEY, or --unsigned.")
    target = to or Path(f"models-{_moment(SystemClock().now_s()):%Y-%m-%d}.bundle")

    async def act(client: "Client") -> None:
        lending = client.lending
        body = {
            "models": list(models),
            "to": lending.result(target),
            "key": None if sign is None else _key_files(client, sign, certificate, chain),
            "have": [lending.path(each) for each in have or []],
            "folder": folder,
        }
        last = await _followed(client, common.out, f"{ROUTES}/bundles/export", body)
        record = {
            "bundle": lending.returned(last["path"]),
            "models": last["models"],
            "size": size(last["size_bytes"]),
            "left_out": size(last["left_out_bytes"]),
            "signed": last["signed"],
            "index": last["index_digest"],
        }
        common.out.record(record, main="bundle")

    common.ask(act)


@bundle.command(name="import")
def import_bundle(
    path: Path,
    *,
    replace: Annotated[bool, Parameter(negative="", help="In the place of models of the same names.")] = False,
    older: Annotated[bool, Parameter(negative="", help="Even if a newer bundle came before.")] = False,
    common: Common = DEFAULT,
) -> None:
    """Check a bundle and shelve all of its models, or change nothing."""

    async def act(client: "Client") -> None:
        body = {"path": client.lending.path(path), "replace": replace, "older": older}
        last = await _followed(client, common.out, f"{ROUTES}/bundles/import", body)
        rows = [{**each, "size": size(each["size_bytes"]), "made_by": last["signer"]} for each in last["models"]]
        columns = {"name": "NAME", "size": "SIZE", "trust": "TRUST", "made_by": "BUNDLE SIGNED BY"}
        common.out.table(rows, columns)

    common.ask(act)


@bundle.command(name="show")
def show_bundle(path: Path, *, common: Common = DEFAULT) -> None:
    """Say what is in a bundle and who signed it. Needs no service, and changes nothing."""
    from intramural.library.provenance import read_anchors
    from intramural.library.provenance.bundle import read_bundle

    config = common.config
    found = read_bundle(path, read_anchors(config.trust_dir), now_s=SystemClock().now_s())
    record = {
        "signer": found.signer,
        "made": _moment(found.index.made_ms / 1000).isoformat(timespec="seconds"),
        "size": size(found.size_bytes),
        "left_out": size(sum(blob.size_bytes for blob in found.index.lacks)),
        "models": [each.about.name for each in found.models],
    }
    common.out.record(record, main="signer")


def _moment(at_s: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(at_s, datetime.UTC)


async def _followed(client: "Client", out: Out, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """The last event, shown with a bar until it comes."""
    last: dict[str, Any] = {}
    with out.progress() as bar:
        task = bar.add_task("checking", total=None)
        async for last in client.events(path, body):
            if last["state"] != "done":
                said = last.get("step", last["state"])
                bar.update(task, description=said, completed=last["done_bytes"], total=last["total_bytes"])
    if last.get("state") != "done":
        raise _unfinished()
    return last


def _unfinished() -> IntramuralError:
    return Unavailable("service_stopped", "The service stopped in the middle of it.", "Try again; nothing was changed.")


# bills of materials ---------------------------------------------------------------------------------------------------


@cli.command
def sbom(
    *models: str,
    to: Annotated[Path | None, Parameter(help="Write it there instead of standard output.")] = None,
    common: Common = DEFAULT,
) -> None:
    """Bill of materials of MODELS, or of the whole installation, in CycloneDX 1.6 (JSON)."""

    async def act(client: "Client") -> None:
        text = await client.text(f"{ROUTES}/bill", [("model", each) for each in models])
        if to is None:
            sys.stdout.write(text)
            return
        to.write_text(text, "utf-8")
        common.out.record({"written": str(to)}, main="written")

    common.ask(act)
