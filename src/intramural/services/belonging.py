"""What a provider says of somebody who arrives: whom a list here means by them, and in which groups they are.

What a provider gave it takes away again, at the next sign-in after it says so no more. What people here gave, or a
list, stays as it is.
"""

import logging

from intramural.access import External, Groups, Identities
from intramural.access.oidc.claims import Arrival
from intramural.audit import Event, Fact
from intramural.audit.log import RecordInTransaction
from intramural.core.actor import SYSTEM
from intramural.core.errors import Conflicting
from intramural.storage import Connection

_log = logging.getLogger(__name__)


class Belonging:
    """Applied in the transaction of every sign-in by a provider's or a directory's word."""

    def __init__(self, groups: Groups, external: External, identities: Identities) -> None:
        self._groups = groups
        self._external = external
        self._identities = identities

    async def known(self, connection: Connection, record: RecordInTransaction, arrival: Arrival) -> str | None:
        """Whom a list or directory knows by what the provider says of who arrives, tied to their account from now on.

        Raises Conflicting(`identity_taken`) where they have an account there: identifiers are given to others, too.
        """
        if arrival.known_as is None:
            return None
        source, external_id = arrival.known_as
        person_id = await self._external.owner(connection, source, external_id)
        if person_id is None:
            return None
        if await self._identities.has(connection, person_id, arrival.issuer):
            message = "Whom we know by this identifier signs in with another account there."
            raise Conflicting("identity_taken", message, "Ask an administrator to take the other one away.")
        await self._identities.tie(connection, arrival, person_id)
        facts: dict[str, Fact] = {"provider": arrival.provider, "invited": False, "source": source}
        record(Event.IDENTITY_TIED, SYSTEM, target=f"person:{person_id}", facts=facts)
        return person_id

    async def apply(
        self, connection: Connection, record: RecordInTransaction, arrival: Arrival, person_id: str
    ) -> None:
        """Put the person into the groups that the provider gives, and out of those that it gave and gives no more."""
        source = f"sign-in:{arrival.provider}"
        wanted = await self._wanted(connection, arrival)
        given = await self._groups.given(connection, person_id)
        for group_id, manager in wanted.items():
            held = given.get(group_id)
            if held is None or (held[1] == source and held[0] != manager):
                await self._groups.put(connection, group_id, person_id, manager=manager, source=source)
                facts: dict[str, Fact] = {"person": person_id, "manager": manager, "source": source}
                record(Event.GROUP_JOINED, SYSTEM, target=f"group:{group_id}", facts=facts)
        for group_id, (_, given_by) in given.items():
            if given_by == source and group_id not in wanted:
                await self._groups.take_back(connection, source, [(person_id, group_id)])
                facts = {"person": person_id, "source": source}
                record(Event.GROUP_LEFT, SYSTEM, target=f"group:{group_id}", facts=facts)

    async def _wanted(self, connection: Connection, arrival: Arrival) -> dict[str, bool]:
        """Our identifiers of the groups, and whether they manage it. A name of no group, or of two, gives nothing."""
        found: dict[str, bool] = {}
        for name in arrival.groups:
            called = await self._groups.called(connection, name)
            if len(called) == 1:
                found[called[0]] = name in arrival.manages or found.get(called[0], False)
            else:
                what = "two groups are" if called else "no group is"
                _log.warning("sign-in.toml, %s: %s called %r", arrival.provider, what, name)
        return found
