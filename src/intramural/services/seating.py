"""Opening a session for somebody who has shown who they are: whole, or one that still awaits something."""

from collections.abc import Mapping
from dataclasses import dataclass

from intramural.access import Proven, Session, Sessions
from intramural.access.factors import Factors
from intramural.audit import Event, Fact
from intramural.audit.log import RecordInTransaction
from intramural.core.actor import SYSTEM
from intramural.storage import Connection


@dataclass(frozen=True, slots=True)
class Seat:
    """A fresh session: `token` goes into the cookie and is kept nowhere else."""

    token: str
    session: Session
    proven: Proven


class Seating:
    """What every way of signing in ends with."""

    def __init__(self, sessions: Sessions, factors: Factors) -> None:
        self._sessions = sessions
        self._factors = factors

    async def open(
        self,
        connection: Connection,
        record: RecordInTransaction,
        proven: Proven,
        user_agent: str,
        facts: Mapping[str, Fact] | None = None,
    ) -> Seat:
        """A session for `proven`, and its event: `login.succeeded`, or `login.awaits` where more is asked of them.

        Raises as `Sessions.open`.
        """
        awaits = await self._factors.due(connection, proven)
        token, session = await self._sessions.open(connection, proven, user_agent, awaits=awaits)
        told: dict[str, Fact] = {"session": session.id, "method": proven.method or "password", **(facts or {})}
        told["strong"] = proven.strong or proven.passkey
        if awaits is not None:
            told["awaits"] = awaits
        event = Event.LOGIN_SUCCEEDED if awaits is None else Event.LOGIN_AWAITS
        record(event, SYSTEM, target=f"person:{proven.person.id}", facts=told)
        return Seat(token, session, proven)
