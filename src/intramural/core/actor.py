"""Who is asking. An `Actor` is made only by `access` (from a key or a session) or by the system for its own acts."""

from dataclasses import dataclass
from typing import Literal

from intramural.core.work import Work

ActorKind = Literal["person", "key", "system"]
Role = Literal["administrator", "auditor", "member"]

ROLES: tuple[Role, ...] = ("administrator", "auditor", "member")

#: What a key may be used for. A session carries every scope its role allows.
Scope = Literal["inference", "chats", "admin", "metrics"]
SCOPES: tuple[Scope, ...] = ("inference", "chats", "admin", "metrics")


@dataclass(frozen=True, slots=True)
class Actor:
    """Somebody identified: a person in a session, a person's key, or the service itself.

    `models` limits which models may be used (None: any that policy allows). `credential_id` is the key's or the
    session's identifier, so that every audit event can say which one was used. `work`: whether somebody waits for what
    is asked; `repeatable`: nobody sees any of it before its end. Neither is in a decision about rights.
    """

    kind: ActorKind
    person_id: str
    username: str
    role: Role
    scopes: frozenset[Scope]
    credential_id: str
    models: frozenset[str] | None = None
    work: Work = Work.INTERACTIVE
    repeatable: bool = False
    groups: tuple[str, ...] = ()
    workspace: str | None = None


SYSTEM = Actor("system", "system", "system", "administrator", frozenset(SCOPES), "system")

#: Whoever works on the machine itself, through the private socket in the data directory.
CONSOLE = Actor("system", "console", "console", "administrator", frozenset(SCOPES), "console")
