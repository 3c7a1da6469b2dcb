"""Breaking the glass: somebody reads what is another's, for a reason, for a time, and the owner is told. Pure.

An opening is asked for, agreed to by a second person where that is wanted, opened by who asked, and over by hand, by
time, or because who asked is not let in any more. `NEXT` is all that can become of one. `Glass` is what the policy is
told of an opening that lasts: whose eyes, on whose things.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from intramural.core.errors import Conflicting, Misasked

State = Literal["requested", "approved", "open", "closed", "refused", "expired"]
STATES: tuple[State, ...] = get_args(State)
#: What somebody, or the clock, does to an opening. `bar`: who asked for it is not let in any more.
Step = Literal["approve", "refuse", "open", "close", "time", "bar"]
STEPS: tuple[Step, ...] = get_args(Step)
#: Where something can still become of it.
LIVE: tuple[State, ...] = ("requested", "approved", "open")

NEXT: Mapping[tuple[State, Step], State] = {
    ("requested", "approve"): "approved",
    ("requested", "refuse"): "refused",
    ("requested", "close"): "closed",
    ("requested", "time"): "expired",
    ("requested", "bar"): "closed",
    ("approved", "refuse"): "refused",
    ("approved", "open"): "open",
    ("approved", "close"): "closed",
    ("approved", "time"): "expired",
    ("approved", "bar"): "closed",
    ("open", "close"): "closed",
    ("open", "time"): "closed",
    ("open", "bar"): "closed",
}

#: What somebody may be let in for.
PURPOSES: Mapping[str, str] = {
    "emergency": "somebody's life or health is in danger",
    "safeguarding": "a child or a patient has to be protected",
    "investigation": "misuse, or an incident, is looked into",
    "legal": "a court or an authority has ordered it",
    "request": "the owner, or who may speak for them, has asked for it",
}
#: A reason says more than a word, and fits on a page.
REASON_CHARS = (10, 1_000)
#: A minute to a day.
MINUTES = (1, 1_440)
_MINUTE_MS, _HOUR_MS = 60_000, 3_600_000
#: By how much a clock is set right without anybody having meant an opening to end: ten minutes.
_SET_RIGHT_MS = 10 * _MINUTE_MS


@dataclass(frozen=True, slots=True)
class Glass:
    """An opening that lasts, as the policy knows it: `asker_id` may read what is of `person_id` (None: of anybody) in
    `workspace_id` (None: anywhere), for `purpose`. One of the two is given.
    """

    opening_id: str
    asker_id: str
    person_id: str | None
    workspace_id: str | None
    purpose: str = ""

    def lets(self, who_id: str, owner_id: str | None, workspace_id: str | None) -> bool:
        """Whether it lets `who_id` read what is `owner_id`'s, in that workspace (None: in none)."""
        if who_id != self.asker_id or owner_id is None or (self.person_id is None and self.workspace_id is None):
            return False
        return self.person_id in (None, owner_id) and self.workspace_id in (None, workspace_id)


@dataclass(frozen=True, slots=True)
class Opening:
    """One opening. `ends_ms`: until when what may become of it next may; of an open one, until when it lasts.

    `person_id` and `workspace_id` as in `Glass`. `second`: a second person has to agree. `why` it is over: `asker`,
    `other` (somebody who may), `time`, `bar`.
    """

    id: str
    asker_id: str
    person_id: str | None
    workspace_id: str | None
    purpose: str
    reason: str
    minutes: int
    second: bool
    state: State
    asked_ms: int
    ends_ms: int
    approver_id: str | None = None
    approved_ms: int | None = None
    opened_ms: int | None = None
    closed_ms: int | None = None
    why: str | None = None

    @property
    def target(self) -> str:
        """What entries of the log name."""
        return f"person:{self.person_id}" if self.person_id else f"workspace:{self.workspace_id}"

    @property
    def glass(self) -> Glass:
        """What the policy is told, while it lasts."""
        return Glass(self.id, self.asker_id, self.person_id, self.workspace_id, self.purpose)

    def is_live(self) -> bool:
        """Whether something can still become of it."""
        return self.state in LIVE

    def is_over(self, now_ms: int) -> bool:
        """Whether its time has passed, or it is over already. One that begins in a time to come is: the clock was set
        back since, and nobody knows how long it has lasted."""
        begun_ms = max(self.asked_ms, self.approved_ms or 0, self.opened_ms or 0)
        return self.state not in LIVE or not begun_ms - _SET_RIGHT_MS <= now_ms < self.ends_ms


def after(opening: Opening, step: Step, now_ms: int) -> State:
    """What becomes of it. Nothing but `time` and `bar` happens to one whose time has passed.

    Raises Conflicting(`opening_over`), Conflicting(`opening_not_ready`).
    """
    late = opening.is_over(now_ms) and step not in ("time", "bar")
    found = NEXT.get((opening.state, step))
    if opening.state not in LIVE or late:
        state = ("closed" if opening.state == "open" else "expired") if late and opening.is_live() else opening.state
        raise Conflicting("opening_over", f"This is {state} already.", "Ask for another one.")
    if found is None:
        message = f"It is {opening.state}: one cannot {step} it now."
        hint = "A second person has to agree first." if step == "open" and opening.state == "requested" else ""
        raise Conflicting("opening_not_ready", message, hint or "See the list of openings.")
    return found


def require_open(opening: Opening, now_ms: int) -> None:
    """Return if one may look now. Raises Conflicting(`opening_over`, `opening_not_ready`)."""
    if opening.state == "open" and not opening.is_over(now_ms):
        return
    after(opening, "open", now_ms)  # says why not, unless it could be opened
    raise Conflicting("opening_not_ready", "This was agreed to and is not open yet.", "Open it: its time runs then.")


def ends_ms(state: State, now_ms: int, *, minutes: int, request_hours: int, before_ms: int) -> int:
    """Until when something may become of an opening that has just come into `state`; `before_ms`: until when before."""
    if state == "requested":
        return now_ms + request_hours * _HOUR_MS
    return now_ms + minutes * _MINUTE_MS if state == "open" else before_ms


def check_reason(text: str) -> str:
    """The reason as it is kept, on one line. Raises Misasked(`bad_reason`)."""
    reason = " ".join(text.split())
    least, most = REASON_CHARS
    if not least <= len(reason) <= most or not reason.isprintable():
        message = f"A reason has {least} to {most} printable characters."
        raise Misasked("bad_reason", message, "Say why it has to be, so that its owner understands it.", param="reason")
    return reason


def check_purpose(purpose: str) -> str:
    """Raises Misasked(`bad_purpose`)."""
    if purpose not in PURPOSES:
        hint = "; ".join(f"{name}: {text}" for name, text in PURPOSES.items())
        raise Misasked("bad_purpose", f"{purpose[:64]!r} is none of the purposes.", f"{hint}.", param="purpose")
    return purpose


def check_minutes(minutes: int | None, usual: int, most: int) -> int:
    """How long it is to last. Raises Misasked(`bad_minutes`)."""
    minutes = min(usual, most) if minutes is None else minutes
    if not 1 <= minutes <= most:
        raise Misasked("bad_minutes", f"It may last for 1 to {most} minutes.", "Ask for less.", param="minutes")
    return minutes
