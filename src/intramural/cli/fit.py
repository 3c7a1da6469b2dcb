"""`intramural fit`."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from intramural.cli.render import size
from intramural.cli.root import DEFAULT, PAGE, Common, cli
from intramural.core.errors import Misasked

if TYPE_CHECKING:
    from intramural.cli.client import Client

_SIZE = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>[kmgt]?i?)b?", re.IGNORECASE)
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_BINARY = {"ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}
#: Of a machine's memory, for models: as the service itself takes at start.
_SHARE = 0.7


@cli.command
def fit(
    model: str | None = None,
    *,
    ram: str | None = None,
    vram: str | None = None,
    ctx: int | None = None,
    slots: int = 1,
    kv: Literal["f16", "q8_0", "q4_0"] = "f16",
    common: Common = DEFAULT,
) -> None:
    """Say whether MODEL fits, how, and how quickly it would answer. Nothing is downloaded but its header.

    MODEL is a name from `intramural ls`, an id from `intramural search`, a GGUF file, or a source as `pull` takes it.
    Without MODEL: everything in the catalogue that fits.

    Parameters
    ----------
    ram
        Suppose a machine with so much memory, such as 16GB; models may use 70 % of it.
    vram
        Suppose a graphics card with so much memory, such as 8GB.
    ctx
        Tokens of context for each answer.
    slots
        Answers at the same time.
    kv
        How the cache is stored.
    """
    asked: dict[str, Any] = {"slots": slots, "kv": kv, "context_tokens": ctx}
    if ram is not None:
        asked["memory_bytes"] = int(parse_size(ram) * _SHARE)
    if vram is not None:
        asked["vram_bytes"] = parse_size(vram)

    async def act(client: "Client") -> None:
        if model is not None:
            _one(common, await client.post(f"{PAGE}/fit", {**asked, "model": client.lending.source(_source(model))}))
            return
        entries = (await client.get(f"{PAGE}/catalogue"))["entries"]
        names = [
            f"{entry['id']}:{variant['id']}"
            for entry in entries
            for variant in entry["variants"]
            if variant["servable"]
        ]
        found = [{**await client.post(f"{PAGE}/fit", {**asked, "model": name}), "id": name} for name in names]
        _all(common, [each for each in found if each["verdict"] != "no"])

    common.ask(act)


def parse_size(text: str) -> int:
    """Bytes from `16GB`, `8GiB` or `500mb`; units are decimal unless they have an i. Raises Misasked(`bad_size`)."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise Misasked("bad_size", f"{text!r} is not an amount of memory.", "Write it like 16GB or 8GiB.")
    unit = match["unit"].lower()
    return int(float(match["number"]) * (_UNITS | _BINARY)[unit])


def _source(model: str) -> str:
    """A file's path becomes a source; everything else is for the service to read."""
    kind, mark, rest = model.partition(":")
    if mark and kind in ("file", "package"):
        return f"{kind}:{Path(rest).absolute()}"
    path = Path(model)
    return f"file:{path.absolute()}" if path.suffix == ".gguf" and path.is_file() else model


def _one(common: Common, found: dict[str, Any]) -> None:
    if common.out.mode == "json":
        common.out.json(found)
        return
    about = "" if found["size_known"] else "about "
    record: dict[str, Any] = {
        "model": f"{found['model']}, {found['quantisation']} (from {found['known_from']})",
        "verdict": found["verdict"],
        "because": found["because"],
        "memory": about + size(found["memory_bytes"]),
        "weights": about + size(found["weights_bytes"]),
        "cache": f"{size(found['kv_bytes'])} ({found['kv']}, {found['context_tokens']:,} tokens x {found['slots']})",
        "compute": size(found["compute_bytes"]),
        "process": size(found["process_bytes"]),
        "tokens_per_s": found["tokens_per_s"],
    }
    if found["experts"]:
        record["experts"] = f"{found['experts_used']} of {found['experts']} work on a token"
    if found["gpu_layers"]:
        record["graphics_card"] = f"{size(found['vram_bytes'])}, {found['gpu_layers']} of {found['layers']} layers"
        if found["experts_on_cpu"]:
            record["experts_on_cpu"] = f"of {found['experts_on_cpu']} of {found['layers']} layers"
    common.out.record(record, main="verdict")


def _all(common: Common, found: list[dict[str, Any]]) -> None:
    rows = [{**each, "memory": size(each["memory_bytes"])} for each in found]
    columns = {
        "id": "MODEL",
        "verdict": "FITS",
        "memory": "MEMORY",
        "context_tokens": "CONTEXT",
        "gpu_layers": "ON GPU",
    }
    common.out.table(rows, {**columns, "tokens_per_s": "TOKENS/S"})
