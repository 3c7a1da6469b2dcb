"""What every command shares: the program, its common options, and how it reaches the house."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import uvloop
from cyclopts import App, Parameter

from intramural import __version__
from intramural.cli.render import Out
from intramural.core import config as settings

if TYPE_CHECKING:
    from intramural.cli.client import Client

PAGE = "/intramural/v1"


def _default(value: object) -> str | None:
    """A default as the help shows it; that a switch is off, or nothing given, goes without saying."""
    return None if value in (None, False, "") else str(value)


cli = App(
    name="intramural",
    help="Open-weight AI that never leaves the building.",
    version=__version__,
    # no `--empty-x` for each list: what is not given is empty
    default_parameter=Parameter(negative_iterable=(), show_default=_default),
)
user = App(name="user", help="People who may sign in.")
people = App(name="people", help="Lists of people from elsewhere, and directories that keep them.")
key = App(name="key", help="Keys for programs.")
vault = App(name="vault", help="The keys under which what people write is kept.")
audit = App(name="audit", help="The log that an outsider can verify.")
log = App(name="log", help="What outsiders check of the log, and where its checkpoints are held.")
quota = App(name="quota", help="Limits on what may be used, and what is left of them.")
evidence = App(name="evidence", help="Evidence packs: what the controls here come to, law by law.")
attest = App(name="attest", help="A signed account of what this installation reaches and what left it.")
report = App(name="report", help="Reports made of the log, for those who must answer for it.")
egress = App(name="egress", help="What may leave this machine, and what did.")
hold = App(name="hold", help="What may not be deleted, for a court or an inquiry.")
retention = App(name="retention", help="What is kept how long, and deleted when.")
guard = App(name="guard", help="What tells who somebody is, in texts.")
group = App(name="group", help="Groups of people, one inside another.")
role = App(name="role", help="Roles of the institution's own.")
workspace = App(name="workspace", help="What belongs together, of one kind of data, for its members.")
policy = App(name="policy", help="Who may do what, and why.")
age = App(name="age", help="How old people are, in bands.")
consent = App(name="consent", help="What parents and guardians consent to.")
notice = App(name="notice", help="What people have to read.")
use = App(name="use", help="What workspaces are declared to be used for (EU AI Act).")
break_glass = App(name="break-glass", help="Reading what is another's in an emergency; the owner is told.")
for _each in (
    user, people, key, group, role, workspace, policy, age, consent, notice, use, quota, audit, log, report, evidence,
    guard, vault, hold, retention, break_glass, egress, attest,
):  # fmt: skip
    cli.command(_each)


_DATA_DIR = "Where everything is kept; else INTRAMURAL_DATA_DIR, else ~/.local/share/intramural."


@Parameter(name="*")
@dataclass(frozen=True)
class Common:
    """Options of every command."""

    data_dir: Annotated[
        Path | None,
        Parameter(help="Where everything is kept; else INTRAMURAL_DATA_DIR, else ~/.local/share/intramural."),
    ] = None
    json: Annotated[bool, Parameter(negative="", help="Print JSON.")] = False
    quiet: Annotated[bool, Parameter(name=["--quiet", "-q"], negative="", help="Print bare values only.")] = False

    @property
    def out(self) -> Out:
        return Out("json" if self.json else "quiet" if self.quiet else "rich")

    @property
    def config(self) -> settings.Config:
        return settings.load(data_dir=self.data_dir)

    def ask(self, act: Callable[["Client"], Awaitable[None]], *, running: bool = False) -> None:
        """Run `act` with a client of the house; with `running`, of none but a running one."""

        # Imported here: the service itself, which must start quickly, has no use for an HTTP client.
        from intramural.cli.client import connected

        config = self.config
        if not running and not config.data_dir.exists():
            self.out.note(
                f"Nothing is at {config.data_dir}: a new installation is made there. "
                "Another one is named by --data-dir or INTRAMURAL_DATA_DIR."
            )

        async def go() -> None:
            async with connected(config, running=running) as client:
                await act(client)

        uvloop.run(go())


DEFAULT = Common()
