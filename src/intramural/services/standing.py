"""Whoever asked for something that goes on by itself, as they may act by now, and where they asked."""

from collections.abc import Awaitable, Callable

from intramural.access import Identify
from intramural.core.actor import Actor
from intramural.core.errors import Missing, Refused, Unauthenticated
from intramural.services.workspaces import WorkspaceDesk

#: (kind, person, credential, workspace, purpose), as an actor had them -> that actor now. Raises Unauthenticated.
Again = Callable[[str, str, str, str | None, str], Awaitable[Actor]]


def standing(identify: Identify, workspaces: WorkspaceDesk) -> Again:
    """Asks anew whether a person or key is let in, and into the workspace: what they lost a moment ago counts."""

    async def again(kind: str, person_id: str, credential_id: str, workspace_id: str | None, purpose: str) -> Actor:
        actor = await identify.again(kind, person_id, credential_id)
        if workspace_id is None:
            return actor
        try:
            return await workspaces.enter(actor, workspace_id, purpose)
        except (Missing, Refused) as error:
            message = "Whoever asked for it is not in its workspace any more."
            raise Unauthenticated("workspace_closed", message, error.hint) from None

    return again
