"""The pull of a model as a table: which step follows which event. Pure; `library` does what the steps say.

    resolving → fetching → verifying → inspecting → shelving → shelved
         any step before the last → refused (a check failed: the bytes go) | stopped (interrupted: what came is kept)

A shelved step can be reached only through `INTACT` and then `PASSED`, with nothing fetched in between: the table has
no other way there, and a property test walks it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType

from intramural.core.errors import IntramuralError, Misasked, Refused, Untrusted


class Step(StrEnum):
    """Where a pull is."""

    RESOLVING = "resolving"
    FETCHING = "fetching"
    VERIFYING = "verifying"
    INSPECTING = "inspecting"
    SHELVING = "shelving"
    SHELVED = "shelved"
    REFUSED = "refused"
    STOPPED = "stopped"


class Event(StrEnum):
    """What has happened."""

    OFFERED = "offered"  # the source said what it has; it must be fetched
    ON_SHELF = "on_shelf"  # the same bytes seem to be in the library already
    FETCHED = "fetched"  # as many bytes as were offered are on the disk
    INTACT = "intact"  # the digest of exactly those bytes is the one offered
    SPOILED = "spoiled"  # it is not, but some of them were there before: fetch all of it anew
    PASSED = "passed"  # the confined reader found nothing against them
    STORED = "stored"  # blob and manifest are durable
    FAILED_CHECK = "failed_check"
    INTERRUPTED = "interrupted"


_ENDINGS = {Event.FAILED_CHECK: Step.REFUSED, Event.INTERRUPTED: Step.STOPPED}

MOVES: Mapping[Step, Mapping[Event, Step]] = MappingProxyType(
    {
        Step.RESOLVING: {Event.OFFERED: Step.FETCHING, Event.ON_SHELF: Step.VERIFYING, **_ENDINGS},
        Step.FETCHING: {Event.FETCHED: Step.VERIFYING, **_ENDINGS},
        Step.VERIFYING: {Event.INTACT: Step.INSPECTING, Event.SPOILED: Step.FETCHING, **_ENDINGS},
        Step.INSPECTING: {Event.PASSED: Step.SHELVING, **_ENDINGS},
        Step.SHELVING: {Event.STORED: Step.SHELVED, **_ENDINGS},
        Step.SHELVED: {},
        Step.REFUSED: {},
        Step.STOPPED: {},
    }
)
FINAL = frozenset(step for step, moves in MOVES.items() if not moves)


class IllegalMove(Exception):
    """The runner asked for a move that the table does not have: a bug of ours."""


@dataclass(frozen=True, slots=True)
class PullState:
    """A pull, seen from outside. `code`, `message` and `hint` say why it was refused or stopped.

    `digests`: of the files it is about, once they are known.
    """

    step: Step = Step.RESOLVING
    done_bytes: int = 0
    total_bytes: int | None = None
    digests: tuple[str, ...] = ()
    code: str | None = None
    message: str | None = None
    hint: str | None = None

    @property
    def is_final(self) -> bool:
        """Whether nothing more will happen."""
        return self.step in FINAL


def advance(state: PullState, event: Event) -> PullState:
    """The state after `event`. Raises IllegalMove when the table has no such move."""
    try:
        step = MOVES[state.step][event]
    except KeyError:
        raise IllegalMove(f"{event} cannot happen while {state.step}") from None
    done_bytes = 0 if step in (Step.FETCHING, Step.VERIFYING) else state.done_bytes
    return replace(state, step=step, done_bytes=done_bytes)


def end(state: PullState, error: IntramuralError | None) -> PullState:
    """The state after `error` (None: cancelled). The caller's and the bytes' faults refuse; all else only stops."""
    if state.is_final:
        return state
    refused = isinstance(error, Untrusted | Refused | Misasked)
    ended = advance(state, Event.FAILED_CHECK if refused else Event.INTERRUPTED)
    if error is None:
        return replace(ended, code="cancelled", message="The pull was cancelled; what came is kept.")
    return replace(ended, code=error.code, message=error.message, hint=error.hint)
