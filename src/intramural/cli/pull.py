"""`intramural pull`."""

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from intramural.cli.render import Out, size
from intramural.cli.root import DEFAULT, PAGE, Common, cli
from intramural.core.errors import IntramuralError, Unavailable, Untrusted

if TYPE_CHECKING:
    from intramural.cli.client import Client


@cli.command
def pull(source: str, *, name: str | None = None, common: Common = DEFAULT) -> None:
    """Get a model: one that `intramural search` lists, `hf:OWNER/REPO`, `ollama:NAME`, `https://…`, `file:PATH`, …

    docs/sources.md has every source.

    Everything is verified and inspected before it is shelved. Ctrl-C pauses it; the same command goes on.

    Parameters
    ----------
    name
        What it is called here; else as its source calls it.
    """

    async def act(client: "Client") -> None:
        begun = await client.post(f"{PAGE}/pulls", {"source": client.lending.source(source), "name": name})
        try:
            last = await _followed(client, common.out, begun)
        except asyncio.CancelledError:
            client.lending.close(keep=True)
            with suppress(IntramuralError):  # it may have ended in this moment
                await client.post(f"{PAGE}/pulls/{begun['id']}/pause")
            raise
        if last["state"] == "quarantined":
            common.out.warn(last["message"], last["hint"])
        elif last["state"] != "shelved":
            raise _ended(last)
        common.out.record({"model": last["model"], "size": size(last["total_bytes"] or 0)}, main="model")

    common.ask(act)


async def _followed(client: "Client", out: Out, begun: dict[str, Any]) -> dict[str, Any]:
    last = begun
    with out.progress() as bar:
        task = bar.add_task("resolving", total=None)
        async for last in client.events(f"{PAGE}/pulls/{begun['id']}/events"):
            bar.update(task, description=last["step"], completed=last["done_bytes"], total=last["total_bytes"])
    return last


def _ended(pull: dict[str, Any]) -> IntramuralError:
    kind = Untrusted if pull["state"] == "refused" else Unavailable
    return kind(pull["code"] or "pull_ended", pull["message"] or f"The pull is {pull['state']}.", pull["hint"] or "")
