"""May they? One table, one pure function; services ask it once for every act.

A row says which roles may do an action to what is their own, which may do it to what is somebody else's or everybody's,
and which of a key's scopes cover it. Where a thing belongs to nobody in particular (models, people, the log) both role
columns are equal. A session carries every scope of its person's role; a key carries only its own, and what its person's
role no longer allows its key may not do either.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from intramural.core.actor import SCOPES, Actor, Role, Scope
from intramural.core.errors import Refused


class Action(StrEnum):
    """Everything that somebody may be refused. The value is the word used in permissions, audit events and errors."""

    ME_READ = "me.read"
    ME_CHANGE_PASSWORD = "me.change_password"  # noqa: S105 — the name of an act, not a password
    ME_READ_SESSIONS = "me.read_sessions"
    ME_CLOSE_SESSION = "me.close_session"
    KEYS_READ = "keys.read"
    KEYS_CREATE = "keys.create"
    KEYS_REVOKE = "keys.revoke"
    PEOPLE_READ = "people.read"
    PEOPLE_CREATE = "people.create"
    PEOPLE_CHANGE = "people.change"
    PEOPLE_REMOVE = "people.remove"
    MODELS_READ = "models.read"
    MODEL_USE = "model.use"
    MODELS_LOAD = "models.load"
    MODELS_UNLOAD = "models.unload"
    MODELS_PIN = "models.pin"
    MODELS_REMOVE = "models.remove"
    MODELS_PULL = "models.pull"
    MODELS_SIGN = "models.sign"
    MODELS_EXPORT = "models.export"
    BILL_READ = "bill.read"
    MODELS_RELEASE = "models.release"
    MACHINE_READ = "machine.read"
    CHATS_READ = "chats.read"
    CHATS_CREATE = "chats.create"
    CHATS_CHANGE = "chats.change"
    CHATS_CONTINUE = "chats.continue"
    CHATS_DELETE = "chats.delete"
    STREAMS_READ = "streams.read"
    STREAMS_CANCEL = "streams.cancel"
    FILES_READ = "files.read"
    FILES_CREATE = "files.create"
    FILES_DELETE = "files.delete"
    BATCHES_READ = "batches.read"
    BATCHES_CREATE = "batches.create"
    BATCHES_CANCEL = "batches.cancel"
    BATCHES_DELETE = "batches.delete"
    RECEIPTS_READ = "receipts.read"
    RESPONSES_READ = "responses.read"
    RESPONSES_KEEP = "responses.keep"
    RESPONSES_CANCEL = "responses.cancel"
    RESPONSES_DELETE = "responses.delete"
    CONVERSATIONS_READ = "conversations.read"
    CONVERSATIONS_CREATE = "conversations.create"
    CONVERSATIONS_CHANGE = "conversations.change"
    CONVERSATIONS_DELETE = "conversations.delete"
    AUDIT_READ = "audit.read"
    AUDIT_VERIFY = "audit.verify"
    USAGE_READ = "usage.read"
    METRICS_READ = "metrics.read"
    GUARD_READ = "guard.read"


@dataclass(frozen=True, slots=True)
class Decision:
    """Yes, or no with the rule that said so, why, and what to do about it."""

    allowed: bool
    rule: str
    reason: str = ""
    hint: str = ""

    def refusal(self) -> Refused:
        """The error to raise for a no; its code is the rule."""
        return Refused(self.rule, self.reason, self.hint)


@dataclass(frozen=True, slots=True)
class _Row:
    own: frozenset[Role]
    others: frozenset[Role]
    scopes: frozenset[Scope]


NOBODY: frozenset[Role] = frozenset()
ADMIN: frozenset[Role] = frozenset({"administrator"})
OVERSEERS: frozenset[Role] = frozenset({"administrator", "auditor"})
EVERYONE: frozenset[Role] = frozenset({"administrator", "auditor", "member"})

#: Scopes a role can give: what its session carries, and what a key made by such a person may ask for.
ROLE_SCOPES: Mapping[Role, frozenset[Scope]] = {
    "administrator": frozenset(SCOPES),
    "auditor": frozenset(SCOPES),
    "member": frozenset({"inference", "chats"}),
}

#: No scope covers it: only somebody signed in. A stolen key must not be able to make itself a successor.
SESSION_ONLY: frozenset[Scope] = frozenset()
_ANY: frozenset[Scope] = frozenset(SCOPES)
_INFERENCE: frozenset[Scope] = frozenset({"inference"})
_CHATS: frozenset[Scope] = frozenset({"chats"})
_ADMIN_API: frozenset[Scope] = frozenset({"admin"})
_METRICS: frozenset[Scope] = frozenset({"metrics"})


def _owned(own: frozenset[Role], others: frozenset[Role], scopes: frozenset[Scope]) -> _Row:
    return _Row(own, others, scopes)


def _shared(roles: frozenset[Role], scopes: frozenset[Scope]) -> _Row:
    return _Row(roles, roles, scopes)


_TABLE: Mapping[Action, _Row] = {
    #                            own       others'    a key needs one of
    Action.ME_READ: _shared(EVERYONE, _ANY),
    Action.ME_CHANGE_PASSWORD: _owned(EVERYONE, NOBODY, SESSION_ONLY),
    Action.ME_READ_SESSIONS: _owned(EVERYONE, NOBODY, SESSION_ONLY),
    Action.ME_CLOSE_SESSION: _owned(EVERYONE, NOBODY, SESSION_ONLY),
    Action.KEYS_READ: _owned(EVERYONE, OVERSEERS, _ADMIN_API),
    Action.KEYS_CREATE: _owned(EVERYONE, NOBODY, SESSION_ONLY),  # a key for somebody else would be their mask
    Action.KEYS_REVOKE: _owned(EVERYONE, ADMIN, _ADMIN_API),
    Action.PEOPLE_READ: _shared(OVERSEERS, _ADMIN_API),
    Action.PEOPLE_CREATE: _shared(ADMIN, _ADMIN_API),
    Action.PEOPLE_CHANGE: _shared(ADMIN, _ADMIN_API),
    Action.PEOPLE_REMOVE: _shared(ADMIN, _ADMIN_API),
    Action.MODELS_READ: _shared(EVERYONE, _INFERENCE | _CHATS | _ADMIN_API),
    Action.MODEL_USE: _shared(EVERYONE, _INFERENCE),
    Action.MODELS_LOAD: _shared(ADMIN, _ADMIN_API),
    Action.MODELS_UNLOAD: _shared(ADMIN, _ADMIN_API),
    Action.MODELS_PIN: _shared(ADMIN, _ADMIN_API),
    Action.MODELS_REMOVE: _shared(ADMIN, _ADMIN_API),
    Action.MODELS_PULL: _shared(ADMIN, _ADMIN_API),
    Action.MODELS_SIGN: _shared(ADMIN, _ADMIN_API),
    Action.MODELS_EXPORT: _shared(ADMIN, _ADMIN_API),
    Action.BILL_READ: _shared(OVERSEERS, _ADMIN_API),  # it tells which versions of which packages run here
    Action.MODELS_RELEASE: _shared(ADMIN, _ADMIN_API),
    Action.MACHINE_READ: _shared(EVERYONE, _ADMIN_API),
    Action.CHATS_READ: _owned(EVERYONE, NOBODY, _CHATS),
    Action.CHATS_CREATE: _owned(EVERYONE, NOBODY, _CHATS),
    Action.CHATS_CHANGE: _owned(EVERYONE, NOBODY, _CHATS),
    Action.CHATS_CONTINUE: _owned(EVERYONE, NOBODY, _CHATS),  # and MODEL_USE for the answer
    Action.CHATS_DELETE: _owned(EVERYONE, NOBODY, _CHATS),
    Action.STREAMS_READ: _owned(EVERYONE, NOBODY, _INFERENCE),
    Action.STREAMS_CANCEL: _owned(EVERYONE, NOBODY, _INFERENCE),
    Action.FILES_READ: _owned(EVERYONE, NOBODY, _INFERENCE),
    Action.FILES_CREATE: _owned(EVERYONE, NOBODY, _INFERENCE),
    Action.FILES_DELETE: _owned(EVERYONE, NOBODY, _INFERENCE),
    Action.BATCHES_READ: _owned(EVERYONE, NOBODY, _INFERENCE),
    Action.BATCHES_CREATE: _owned(EVERYONE, NOBODY, _INFERENCE),  # and MODEL_USE for every line
    Action.BATCHES_CANCEL: _owned(EVERYONE, NOBODY, _INFERENCE),
    Action.BATCHES_DELETE: _owned(EVERYONE, NOBODY, _INFERENCE),
    Action.RECEIPTS_READ: _owned(EVERYONE, NOBODY, _INFERENCE | _ADMIN_API),  # others': AUDIT_READ
    # what a person's programs keep here: theirs alone, as chats are, and any of their keys that may ask a model
    Action.RESPONSES_READ: _owned(EVERYONE, NOBODY, _INFERENCE),
    Action.RESPONSES_KEEP: _owned(EVERYONE, NOBODY, _INFERENCE),
    Action.RESPONSES_CANCEL: _owned(EVERYONE, NOBODY, _INFERENCE),
    Action.RESPONSES_DELETE: _owned(EVERYONE, NOBODY, _INFERENCE),
    Action.CONVERSATIONS_READ: _owned(EVERYONE, NOBODY, _INFERENCE),
    Action.CONVERSATIONS_CREATE: _owned(EVERYONE, NOBODY, _INFERENCE),
    Action.CONVERSATIONS_CHANGE: _owned(EVERYONE, NOBODY, _INFERENCE),
    Action.CONVERSATIONS_DELETE: _owned(EVERYONE, NOBODY, _INFERENCE),
    Action.AUDIT_READ: _shared(OVERSEERS, _ADMIN_API),
    Action.AUDIT_VERIFY: _shared(OVERSEERS, _ADMIN_API),
    Action.USAGE_READ: _owned(EVERYONE, OVERSEERS, _ADMIN_API),
    Action.METRICS_READ: _shared(OVERSEERS, _METRICS),
    Action.GUARD_READ: _shared(EVERYONE, _INFERENCE),  # of a text that they have themselves
}

#: Actions whose target is a model's name, which a key's list of models may rule out.
_NAMES_A_MODEL = frozenset({Action.MODEL_USE, Action.MODELS_READ})


def decide(actor: Actor, action: Action, *, target: str | None = None, owner_id: str | None = None) -> Decision:
    """May `actor` do `action`? `target` is a model's name where the action is about one; `owner_id` is whose thing it
    is, None meaning everybody's (all keys, everyone's usage). Total and pure: the first rule that refuses is named.
    """
    if actor.kind == "system":
        return Decision(True, "system")
    row = _TABLE[action]
    return (
        _scope_refuses(actor, action, row)
        or _role_refuses(actor, action, row, mine=owner_id == actor.person_id)
        or _model_refuses(actor, action, target)
        or Decision(True, "role")
    )


def permissions(actor: Actor) -> list[str]:
    """What a page may offer `actor`: `keys.read` where they may with their own things (or the thing is nobody's),
    besides `keys.read.all` where they may with other people's too.
    """
    found: list[str] = []
    for action, row in _TABLE.items():
        if decide(actor, action, owner_id=actor.person_id).allowed:
            found.append(action.value)
        if row.own != row.others and decide(actor, action).allowed:
            found.append(f"{action}.all")
    return found


def _scope_refuses(actor: Actor, action: Action, row: _Row) -> Decision | None:
    if actor.kind == "person" or actor.scopes & row.scopes:
        return None
    if not row.scopes:
        return Decision(
            False, "session_required", f"A key may not do {action}.", "Sign in on the page, or use the command line."
        )
    has = ", ".join(sorted(actor.scopes)) or "none"
    needed = " or ".join(f"`{scope}`" for scope in sorted(row.scopes))
    return Decision(
        False,
        "scope_missing",
        f"This key's scopes ({has}) do not cover {action}.",
        f"Use a key with the scope {needed}.",
    )


def _role_refuses(actor: Actor, action: Action, row: _Row, *, mine: bool) -> Decision | None:
    if actor.role in (row.own if mine else row.others):
        return None
    if actor.role in row.own:
        return Decision(
            False,
            "not_yours",
            f"As {_a(actor.role)} you may do {action} only to what is your own.",
            "Ask its owner." if not row.others else f"Ask {_who(row.others)}.",
        )
    return Decision(
        False, "role_missing", f"{action} is for {_who(row.others)}; you are {_a(actor.role)}.", f"Ask {_who(ADMIN)}."
    )


def _model_refuses(actor: Actor, action: Action, target: str | None) -> Decision | None:
    if actor.models is None or target is None or action not in _NAMES_A_MODEL or target in actor.models:
        return None
    return Decision(
        False,
        "model_not_allowed",
        f"This key may not use the model {target!r}.",
        f"It may use: {', '.join(sorted(actor.models)) or 'none'}.",
    )


def _a(role: Role) -> str:
    return "a member" if role == "member" else f"an {role}"


def _who(roles: frozenset[Role]) -> str:
    return " or ".join(_a(role) for role in sorted(roles))
