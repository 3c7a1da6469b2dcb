"""Who is asking. An `Actor` is made only by `access` (from a key or a session) or by the system for its own acts."""

from typing import Literal

import msgspec
from msgspec.structs import replace

from intramural.core.work import Work

ActorKind = Literal["person", "key", "system"]
#: The roles there always are. An institution may have more of its own, each with a name and permissions.
Role = Literal["administrator", "auditor", "manager", "member", "service"]

ROLES: tuple[Role, ...] = ("administrator", "auditor", "manager", "member", "service")

#: What a key may be used for. A session carries every scope its role allows.
Scope = Literal["inference", "chats", "admin", "metrics", "provision"]
SCOPES: tuple[Scope, ...] = ("inference", "chats", "admin", "metrics", "provision")


#: What kind of data a workspace is for: health information of patients is `phi`, records of pupils `education`.
Label = Literal["public", "internal", "confidential", "phi", "education"]
LABELS: tuple[Label, ...] = ("public", "internal", "confidential", "phi", "education")


#: How old somebody is, as far as rules tell people apart; `unknown` until somebody says it.
Age = Literal["unknown", "under-13", "13-15", "16-17", "adult"]
AGES: tuple[Age, ...] = ("unknown", "under-13", "13-15", "16-17", "adult")


class Unread(msgspec.Struct, frozen=True):
    """A notice that somebody has to have read before models answer them, and has not. `audience`: `everyone`, or
    `role:`, `group:`, `workspace:` or `age:` with what is meant; in another workspace it does not concern them.
    """

    notice_id: str
    audience: str
    title: str


class Standing(msgspec.Struct, frozen=True):
    """What rules know of a person besides their role: their age, what their guardian consents to now, and what they
    have yet to read."""

    age: Age = "unknown"
    consents: frozenset[str] = frozenset()
    unread: tuple[Unread, ...] = ()


class Place(msgspec.Struct, frozen=True):
    """A workspace as far as rules know it. `models` None: any. `purposes` empty: none has to be named. `uses`: those
    of high risk that were declared for it; `overseen`: whether somebody who is let in is named to oversee them.
    """

    id: str
    name: str
    label: Label
    models: frozenset[str] | None = None
    purposes: tuple[str, ...] = ()
    uses: tuple[str, ...] = ()
    overseen: bool = True


class Whose(msgspec.Struct, frozen=True):
    """Whose something is that is kept, and of which workspace (None: of none). Both are part of every question for it:
    what is of a workspace is there in that workspace alone, and what is of none is in none.
    """

    person_id: str
    workspace_id: str | None = None


class Actor(msgspec.Struct, frozen=True):
    """Somebody identified: a person in a session, a person's key, or the service itself.

    `models` limits which models may be used (None: any that policy allows). `credential_id` is the key's or the
    session's identifier, so that every audit event can say which one was used. `work`: whether somebody waits for what
    is asked; `repeatable`: nobody sees any of it before its end. Neither is in a decision about rights.
    `role`: one of `ROLES`, or one of the institution's own, which then has `permissions`.
    `groups`: the identifiers of all groups the person is in: those they were put into, then those around these;
    `manages`: of those they manage, which they do with all groups below. `workspace`: of the one this is asked in;
    `place` is what rules know of it, and `purpose` what it is asked for there. Only `inside` sets these, together.
    `standing`: their age, consents and what they have yet to read.
    """

    kind: ActorKind
    person_id: str
    username: str
    role: str
    scopes: frozenset[Scope]
    credential_id: str
    models: frozenset[str] | None = None
    work: Work = Work.INTERACTIVE
    repeatable: bool = False
    groups: tuple[str, ...] = ()
    manages: tuple[str, ...] = ()
    workspace: str | None = None
    place: Place | None = None
    purpose: str = ""
    permissions: frozenset[str] | None = None
    standing: Standing = Standing()

    def inside(self, place: Place, purpose: str) -> "Actor":
        """The same, asking in a workspace. Whether they may is for the caller to have found out."""
        return replace(self, workspace=place.id, place=place, purpose=purpose)

    @property
    def whose(self) -> Whose:
        """Whose that is which is kept of what is asked now, and what can be reached."""
        return Whose(self.person_id, self.workspace)


SYSTEM = Actor("system", "system", "system", "administrator", frozenset(SCOPES), "system")

#: Whoever works on the machine itself, through the private socket in the data directory.
CONSOLE = Actor("system", "console", "console", "administrator", frozenset(SCOPES), "console")
