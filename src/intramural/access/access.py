"""The whole room, put together."""

import asyncio
from pathlib import Path

from intramural.access.external import External
from intramural.access.factors import Factors, Rules
from intramural.access.groups import Groups
from intramural.access.identify import Identify
from intramural.access.identities import Identities
from intramural.access.keys import Keys
from intramural.access.lately import Lately
from intramural.access.oidc import Flow
from intramural.access.passkeys import Passkeys
from intramural.access.passwords import Cost, Passwords
from intramural.access.people import People
from intramural.access.roles import Roles
from intramural.access.seal import Seal
from intramural.access.secret import Pepper
from intramural.access.sessions import Sessions
from intramural.access.setup import Setup
from intramural.access.throttle import Throttle
from intramural.access.workspaces import Workspaces
from intramural.core.clock import Clock
from intramural.core.config import AccessConfig
from intramural.core.rounds import Rounds
from intramural.storage import Database

#: Between writing down when keys were used and sessions seen: seldom enough to cost nothing beside real commits.
TEND_INTERVAL_S = 15.0


class Access:
    """Made by `Access.open`; close it before the database."""

    def __init__(
        self, db: Database, pepper: Pepper, config: AccessConfig, clock: Clock, cost: Cost | None = None
    ) -> None:
        self._lately = Lately(db)
        self._passwords = Passwords(config.hash_concurrency, cost=cost)
        throttle = Throttle(
            config.login_attempts, config.login_window_s, address_attempts=config.login_attempts_per_address
        )
        self.people = People(db, clock, self._passwords, throttle)
        self.groups = Groups(db, clock)
        self.keys = Keys(db, clock, pepper, self._lately)
        self.sessions = Sessions(db, clock, config, pepper, self._lately)
        self.setup = Setup(db, clock, pepper, self.people)
        self.roles = Roles(db, clock)
        self.workspaces = Workspaces(db, clock)
        self.identify = Identify(db, clock, config, pepper, self._lately, self.workspaces)
        self.seal = Seal(pepper, clock)
        self.identities = Identities(db, clock, pepper)
        self.external = External(db, clock)
        self.oidc = Flow(self.seal, clock)
        self.factors = Factors(db, clock, pepper, self.seal, Rules.of(config))
        self.passkeys = Passkeys(db, clock, self.seal)
        self._tending = Rounds("tending of sessions", self.tend, TEND_INTERVAL_S, first_s=TEND_INTERVAL_S)

    @classmethod
    async def open(
        cls, db: Database, secrets_dir: Path, config: AccessConfig, clock: Clock, *, cost: Cost | None = None
    ) -> "Access":
        """Open the room: read or make the pepper, begin tending. `cost` is what a password hash costs (tests lower it).

        Raises Broken(`secret_exposed`, `secret_damaged`).
        """
        pepper = await asyncio.to_thread(Pepper.open, secrets_dir, clock)
        access = cls(db, pepper, config, clock, cost)
        access._tending.open()
        return access

    async def close(self) -> None:
        """Stop tending, write down what was noted, take no more passwords."""
        await self._tending.close()
        await self._lately.write()
        self._passwords.close()

    async def tend(self) -> None:
        """Write down when keys were used and sessions seen; delete sessions that have ended."""
        await self._lately.write()
        await self.sessions.sweep()
