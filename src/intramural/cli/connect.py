"""`intramural connect`."""

import json
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from intramural.cli.clients import CLIENTS, KEY_VARIABLE, Settings, Told, merged
from intramural.cli.root import DEFAULT, PAGE, Common, cli
from intramural.core.durable import write_whole
from intramural.core.errors import Conflicting, Misasked, Missing

if TYPE_CHECKING:
    from intramural.cli.client import Client

#: What was in a file before it was changed for the first time.
_BEFORE = ".before-intramural"


@cli.command
def connect(
    client: str | None = None,
    *,
    write: Annotated[bool, Parameter(negative="")] = False,
    model: str | None = None,
    address: str | None = None,
    key: str | None = None,
    common: Common = DEFAULT,
) -> None:
    """Print the settings that point CLIENT at this service. Without CLIENT: list the programs that are known.

    Parameters
    ----------
    write
        Put the settings into the program's own file, beside what stands there already.
    model
        Name of the model to use; else the first that chats.
    address
        Address of the service as CLIENT sees it, such as https://ai.school.example; else the one in the settings.
    key
        The key to use, which is then written where the program expects it; else it is read from INTRAMURAL_API_KEY.
    """
    if client is None:
        rows = [{"client": name, "what": what} for name, (what, _) in CLIENTS.items()]
        common.out.table(rows, {"client": "CLIENT", "what": "WHAT"})
        return
    if client not in CLIENTS:
        raise Missing("client_not_known", f"There are no settings for {client!r}.", f"Known: {', '.join(CLIENTS)}.")

    async def act(house: "Client") -> None:
        models = (await house.get(f"{PAGE}/models"))["models"]
        config = common.config
        where = (address or f"http://{config.server.host}:{config.server.port}").rstrip("/").removesuffix("/v1")
        chosen = _chosen(models, model)
        context = min(int(chosen["trained_context_tokens"] or 0) or 2**31, config.serving.context_tokens)
        settings = CLIENTS[client][1](Told(where, chosen["name"], context, key))
        file = Path.home() / settings.file if settings.file else None
        if write:
            _write(client, settings, file)
        _show(common, client, settings, file, written=write)

    common.ask(act)


def _chosen(models: list[dict[str, Any]], name: str | None) -> dict[str, Any]:
    found = next((each for each in models if name is None or each["name"] == name), None)
    if found is None:
        there = ", ".join(each["name"] for each in models) or "none; get one with `intramural pull`"
        raise Missing("model_not_found", f"There is no model {name!r}." if name else "No model is there.", there)
    return found


def _write(client: str, settings: Settings, file: Path | None) -> None:
    """Put the settings into `file`. Raises Misasked or Conflicting, and then nothing was changed."""
    if file is None:
        raise Misasked(
            "nothing_to_write",
            f"{client} has no settings file of its own.",
            "Leave out --write and paste what is shown.",
        )
    before = file.read_text("utf-8") if file.exists() else None
    text = content(settings, before, file)
    file.parent.mkdir(parents=True, exist_ok=True)
    kept = file.with_name(file.name + _BEFORE)
    if before is not None and not kept.exists():
        _replace(kept, before, private=True)
    _replace(file, text, private=settings.holds_key)


def content(settings: Settings, before: str | None, file: Path) -> str:
    """What `file` holds afterwards; `before` is what it holds now. Raises Conflicting(`settings_in_the_way`)."""
    if before is None or not before.strip():
        return settings.content + "\n"
    if settings.kind == "json":
        try:
            existing = json.loads(before)
        except ValueError:
            existing = None
        if not isinstance(existing, dict):
            raise _in_the_way(file, "is no plain JSON object (comments, perhaps)")
        return json.dumps(merged(existing, json.loads(settings.content)), indent=2, ensure_ascii=False) + "\n"
    if settings.kind == "toml":
        try:
            existing = tomllib.loads(before)
        except tomllib.TOMLDecodeError:
            raise _in_the_way(file, "cannot be read") from None
        if "intramural" in existing.get("model_providers", {}):
            raise _in_the_way(file, "has settings for intramural already")
        return before.rstrip("\n") + "\n\n" + settings.content + "\n"
    raise _in_the_way(file, "exists")


def _in_the_way(file: Path, why: str) -> Conflicting:
    return Conflicting(
        "settings_in_the_way", f"{file} {why}.", "Leave out --write and put what is shown into it by hand."
    )


def _replace(file: Path, text: str, *, private: bool) -> None:
    """Write all or nothing; what holds a key, or may, is for its owner alone."""
    mode = 0o600 if private else (file.stat().st_mode & 0o777 if file.exists() else 0o644)
    write_whole(file, text.encode(), mode=mode)


def _show(common: Common, client: str, settings: Settings, file: Path | None, *, written: bool) -> None:
    if common.out.mode == "json":
        told = {"client": client, "file": str(file) if file else None, "content": settings.content}
        common.out.json({**told, "then": list(settings.then), "written": written, "key_variable": KEY_VARIABLE})
        return
    if written:
        common.out.note(f"{file} is written.")
    else:
        if file is not None:
            common.out.note(f"# {file}")
        common.out.text(settings.content + "\n")
    for step in settings.then:
        common.out.note(f"# then: {step}")
