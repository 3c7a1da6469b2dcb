"""`intramural release` (and, with it, what inspection says)."""

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from intramural.cli.root import DEFAULT, PAGE, Common, cli

if TYPE_CHECKING:
    from intramural.cli.client import Client


@cli.command
def release(
    model: str,
    *,
    reason: Annotated[str, Parameter(help="Why it may be used; kept in the log.")],
    common: Common = DEFAULT,
) -> None:
    """Let a quarantined MODEL be loaded. See docs/inspection.md."""

    async def act(client: "Client") -> None:
        released = await client.post(f"{PAGE}/models/{model}/release", {"reason": reason})
        common.out.record({"model": released["name"], **released["released"]}, main="model")

    common.ask(act)
