"""May they? One table, one pure function; services ask it once for every act.

A row says which roles may do an action to what is their own, to what is of somebody in a group that they manage, and to
what is somebody else's or everybody's; and which of a key's scopes cover it. Where a thing belongs to nobody in
particular (models, the log) all role columns are equal. A session carries every scope of its person's role; a key
carries only its own, and what its person's role no longer allows its key may not do either. An institution's own roles
have permissions in the place of columns (`permissions`), and never more than an administrator has.

Then come the workspace in which it is asked, what bounds somebody's use of models (`bounds`: their age, a guardian's
consent, notices to be read, oversight), and the institution's own rules (`rules`), which can only refuse.

What people write is nobody else's to read, with one exception: an opening (`glass`) that is told of here as a fact. It
stands in for being the owner, of these things and for reading alone; and the console gets no further than anybody.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

import msgspec

from intramural.access import bounds
from intramural.access.ages import NO_AGES, AgeRules, Feature
from intramural.access.decision import Decision
from intramural.access.glass import Glass
from intramural.access.rules import Rule, first_match
from intramural.core.actor import ROLES, SCOPES, Actor, Place, Role, Scope


class Action(StrEnum):
    """Everything that somebody may be refused. The value is the word used in permissions, audit events and errors."""

    ME_READ = "me.read"
    ME_CHANGE_PASSWORD = "me.change_password"  # noqa: S105 — the name of an act, not a password
    ME_READ_SESSIONS = "me.read_sessions"
    ME_CLOSE_SESSION = "me.close_session"
    ME_EXPORT = "me.export"
    ME_READ_OPENINGS = "me.read_openings"
    KEYS_READ = "keys.read"
    KEYS_CREATE = "keys.create"
    KEYS_REVOKE = "keys.revoke"
    PEOPLE_READ = "people.read"
    PEOPLE_CREATE = "people.create"
    PEOPLE_CHANGE = "people.change"
    PEOPLE_REMOVE = "people.remove"
    PEOPLE_IMPORT = "people.import"
    PEOPLE_PROVISION = "people.provision"
    VAULT_CHANGE_KEYS = "vault.change_keys"
    GROUPS_READ = "groups.read"
    GROUPS_CHANGE = "groups.change"
    ROLES_READ = "roles.read"
    ROLES_CHANGE = "roles.change"
    WORKSPACES_READ = "workspaces.read"
    WORKSPACES_CHANGE = "workspaces.change"
    WORKSPACE_ENTER = "workspace.enter"
    POLICY_EXPLAIN = "policy.explain"
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
    REVIEWS_SIGN = "reviews.sign"
    HOLDS_READ = "holds.read"
    HOLDS_CHANGE = "holds.change"
    RETENTION_READ = "retention.read"
    RETENTION_RUN = "retention.run"
    DISCLOSURES_READ = "disclosures.read"
    USAGE_READ = "usage.read"
    METRICS_READ = "metrics.read"
    QUOTAS_READ = "quotas.read"
    QUOTAS_CHANGE = "quotas.change"
    GUARD_READ = "guard.read"
    AGES_READ = "ages.read"
    AGES_CHANGE = "ages.change"
    CONSENTS_READ = "consents.read"
    CONSENTS_CHANGE = "consents.change"
    NOTICES_READ = "notices.read"
    NOTICES_CHANGE = "notices.change"
    NOTICES_ACKNOWLEDGE = "notices.acknowledge"
    USES_READ = "uses.read"
    USES_DECLARE = "uses.declare"
    OUTPUTS_REVIEW = "outputs.review"
    EGRESS_READ = "egress.read"
    EGRESS_CHANGE = "egress.change"
    BREAKGLASS_ASK = "breakglass.ask"
    BREAKGLASS_LIST = "breakglass.list"
    BREAKGLASS_APPROVE = "breakglass.approve"
    BREAKGLASS_CLOSE = "breakglass.close"


class Thing(msgspec.Struct, frozen=True):
    """What is known of what an action is about; all of it may be unknown, which is everybody's or nobody's thing.

    `owner_id`: whose it is (None: everybody's); `groups`: that the owner is in; `service`: the owner is a service
    account. `model`: the name of the model it is about. `place`: the workspace it is, or is in; `member`: whether who
    asks is one of its members. `grants`: what the person it is about may do, or would be given with a role. `glass`: an
    opening that lasts at this moment, for who asks or for somebody else. `passing`: nothing of it is kept; `tools`: the
    model may call functions; `overseer`: whether who asks is named to oversee what its workspace is declared for.
    """

    owner_id: str | None = None
    groups: frozenset[str] = frozenset()
    service: bool = False
    model: str | None = None
    place: Place | None = None
    member: bool = False
    grants: frozenset[str] = frozenset()
    passing: bool = False
    tools: bool = False
    overseer: bool = False
    glass: Glass | None = None


ANYTHING = Thing()


@dataclass(frozen=True, slots=True)
class _Row:
    own: frozenset[Role]
    managed: frozenset[Role]
    others: frozenset[Role]
    scopes: frozenset[Scope]
    services: frozenset[Role]
    #: Whether it makes no difference whose the thing is.
    is_shared: bool


NOBODY: frozenset[Role] = frozenset()
ADMIN: frozenset[Role] = frozenset({"administrator"})
STEWARDS: frozenset[Role] = frozenset({"administrator", "manager"})
OVERSEERS: frozenset[Role] = frozenset({"administrator", "auditor"})
LEADS: frozenset[Role] = frozenset({"administrator", "auditor", "manager"})
PEOPLE: frozenset[Role] = frozenset({"administrator", "auditor", "manager", "member"})
EVERYONE: frozenset[Role] = frozenset(ROLES)

#: Scopes a role can give: what its session carries, and what a key made by such a person may ask for.
ROLE_SCOPES: Mapping[Role, frozenset[Scope]] = {
    "administrator": frozenset(SCOPES),
    "auditor": frozenset({"inference", "chats", "admin", "metrics"}),
    "manager": frozenset({"inference", "chats", "admin"}),
    "member": frozenset({"inference", "chats"}),
    "service": frozenset({"inference"}),
}

#: No scope covers it: only somebody signed in. A stolen key must not be able to make itself a successor.
SESSION_ONLY: frozenset[Scope] = frozenset()
_ANY: frozenset[Scope] = frozenset(SCOPES)
_INFERENCE: frozenset[Scope] = frozenset({"inference"})
_CHATS: frozenset[Scope] = frozenset({"chats"})
_ADMIN_API: frozenset[Scope] = frozenset({"admin"})
_METRICS: frozenset[Scope] = frozenset({"metrics"})
_PROVISION: frozenset[Scope] = frozenset({"provision"})


def _owned(
    own: frozenset[Role],
    others: frozenset[Role],
    scopes: frozenset[Scope],
    *,
    managed: frozenset[Role] = NOBODY,
    services: frozenset[Role] = NOBODY,
) -> _Row:
    return _Row(own, managed | others, others, scopes, services, own == others)


def _shared(roles: frozenset[Role], scopes: frozenset[Scope]) -> _Row:
    return _Row(roles, roles, roles, scopes, NOBODY, is_shared=True)


_TABLE: Mapping[Action, _Row] = {
    #                            own       others'    a key needs one of
    Action.ME_READ: _shared(EVERYONE, _ANY),
    Action.ME_CHANGE_PASSWORD: _owned(PEOPLE, NOBODY, SESSION_ONLY),
    Action.ME_READ_SESSIONS: _owned(PEOPLE, NOBODY, SESSION_ONLY),
    Action.ME_CLOSE_SESSION: _owned(PEOPLE, NOBODY, SESSION_ONLY),
    Action.ME_EXPORT: _owned(PEOPLE, NOBODY, SESSION_ONLY),  # everything at once: not for a key that was lost
    Action.ME_READ_OPENINGS: _owned(EVERYONE, NOBODY, SESSION_ONLY),
    Action.KEYS_READ: _owned(EVERYONE, OVERSEERS, _ADMIN_API),
    # a key for somebody else would be their mask; a service account has nobody who could make it one
    Action.KEYS_CREATE: _owned(PEOPLE, NOBODY, SESSION_ONLY, services=ADMIN),
    Action.KEYS_REVOKE: _owned(EVERYONE, ADMIN, _ADMIN_API),
    Action.PEOPLE_READ: _owned(OVERSEERS, OVERSEERS, _ADMIN_API, managed=LEADS),
    Action.PEOPLE_CREATE: _shared(ADMIN, _ADMIN_API),
    Action.PEOPLE_CHANGE: _shared(ADMIN, _ADMIN_API),
    Action.PEOPLE_REMOVE: _shared(ADMIN, _ADMIN_API),
    Action.PEOPLE_IMPORT: _shared(ADMIN, _ADMIN_API),
    Action.PEOPLE_PROVISION: _shared(ADMIN, _PROVISION),  # a directory's key opens this and nothing else
    Action.VAULT_CHANGE_KEYS: _shared(ADMIN, _ADMIN_API),
    Action.GROUPS_READ: _owned(OVERSEERS, OVERSEERS, _ADMIN_API, managed=LEADS),
    Action.GROUPS_CHANGE: _shared(ADMIN, _ADMIN_API),
    Action.ROLES_READ: _shared(OVERSEERS, _ADMIN_API),
    Action.ROLES_CHANGE: _shared(ADMIN, _ADMIN_API),
    Action.WORKSPACES_READ: _owned(EVERYONE, OVERSEERS, _INFERENCE | _CHATS | _ADMIN_API),  # own: one is a member
    Action.WORKSPACES_CHANGE: _shared(ADMIN, _ADMIN_API),
    Action.WORKSPACE_ENTER: _shared(EVERYONE, _ANY),  # and being a member of it
    Action.POLICY_EXPLAIN: _owned(EVERYONE, OVERSEERS, _ADMIN_API),
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
    Action.MACHINE_READ: _shared(OVERSEERS, _ADMIN_API),  # where its walls are thin, its kernel, its processes
    Action.CHATS_READ: _owned(PEOPLE, NOBODY, _CHATS),
    Action.CHATS_CREATE: _owned(PEOPLE, NOBODY, _CHATS),
    Action.CHATS_CHANGE: _owned(PEOPLE, NOBODY, _CHATS),
    Action.CHATS_CONTINUE: _owned(PEOPLE, NOBODY, _CHATS),  # and MODEL_USE for the answer
    Action.CHATS_DELETE: _owned(PEOPLE, NOBODY, _CHATS),
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
    Action.REVIEWS_SIGN: _shared(OVERSEERS, _ADMIN_API),
    # a hold is put for a court or an inquiry: that is the auditor's as well as the administrator's
    Action.HOLDS_READ: _shared(OVERSEERS, _ADMIN_API),
    Action.HOLDS_CHANGE: _shared(OVERSEERS, _ADMIN_API),
    Action.RETENTION_READ: _shared(OVERSEERS, _ADMIN_API),
    Action.RETENTION_RUN: _shared(ADMIN, _ADMIN_API),
    Action.DISCLOSURES_READ: _owned(EVERYONE, OVERSEERS, _ADMIN_API),  # who was shown what of somebody
    Action.USAGE_READ: _owned(EVERYONE, OVERSEERS, _ADMIN_API, managed=LEADS),
    Action.METRICS_READ: _shared(OVERSEERS, _METRICS),
    Action.QUOTAS_READ: _owned(EVERYONE, OVERSEERS, _INFERENCE | _ADMIN_API),
    Action.QUOTAS_CHANGE: _shared(ADMIN, _ADMIN_API),
    Action.GUARD_READ: _shared(EVERYONE, _INFERENCE),  # of a text that they have themselves
    # a teacher knows their pupils, and collects their forms
    Action.AGES_READ: _owned(EVERYONE, OVERSEERS, _ADMIN_API, managed=LEADS),
    Action.AGES_CHANGE: _owned(ADMIN, ADMIN, _ADMIN_API, managed=STEWARDS),
    Action.CONSENTS_READ: _owned(EVERYONE, OVERSEERS, _ADMIN_API, managed=LEADS),
    Action.CONSENTS_CHANGE: _owned(ADMIN, ADMIN, _ADMIN_API, managed=STEWARDS),
    Action.NOTICES_READ: _owned(EVERYONE, OVERSEERS, _INFERENCE | _CHATS | _ADMIN_API),  # own: for oneself
    Action.NOTICES_CHANGE: _shared(ADMIN, _ADMIN_API),
    Action.NOTICES_ACKNOWLEDGE: _owned(PEOPLE, ADMIN, SESSION_ONLY, managed=STEWARDS),  # a program cannot have read
    Action.USES_READ: _shared(OVERSEERS, _ADMIN_API),
    Action.USES_DECLARE: _shared(ADMIN, _ADMIN_API),
    Action.OUTPUTS_REVIEW: _shared(PEOPLE, _ADMIN_API),  # and being its overseer
    Action.EGRESS_READ: _shared(OVERSEERS, _ADMIN_API),
    Action.EGRESS_CHANGE: _shared(ADMIN, _ADMIN_API),
    # own: what one has asked for. A key that was lost must break no glass
    Action.BREAKGLASS_ASK: _owned(ADMIN, NOBODY, SESSION_ONLY),
    Action.BREAKGLASS_LIST: _owned(OVERSEERS, OVERSEERS, SESSION_ONLY),
    Action.BREAKGLASS_APPROVE: _owned(OVERSEERS, OVERSEERS, SESSION_ONLY),  # and never for oneself
    Action.BREAKGLASS_CLOSE: _owned(OVERSEERS, OVERSEERS, SESSION_ONLY),
}

#: What an opening lets somebody do with what is another's.
THROUGH_GLASS = frozenset(
    {
        Action.CHATS_READ,
        Action.FILES_READ,
        Action.RESPONSES_READ,
        Action.CONVERSATIONS_READ,
        Action.BATCHES_READ,
    }
)
#: What no role of an institution's own can be without: people are told who read what is theirs.
ALWAYS = frozenset({Action.ME_READ_OPENINGS})
#: Actions about a model by name, which a key's list of models or a workspace's may rule out.
_NAMES_A_MODEL = frozenset({Action.MODEL_USE, Action.MODELS_READ})
#: What each of these takes of what an age may rule out, and a guardian consents to.
_FEATURES: Mapping[Action, tuple[Feature, ...]] = {
    Action.MODEL_USE: (Feature.USE,),
    Action.CHATS_CREATE: (Feature.KEEP,),
    Action.CHATS_CONTINUE: (Feature.KEEP, Feature.USE),
    Action.RESPONSES_KEEP: (Feature.KEEP,),
    Action.CONVERSATIONS_CREATE: (Feature.KEEP,),
    Action.CONVERSATIONS_CHANGE: (Feature.KEEP,),
    Action.FILES_CREATE: (Feature.FILES,),
    Action.BATCHES_CREATE: (Feature.FILES,),
}
#: Asking a model now. A turn is kept before it is answered: whoever is to get no answer says it to nobody.
_ASKS = frozenset({Action.MODEL_USE, Action.CHATS_CONTINUE})
#: About somebody, or giving a role: nobody may so get hold of rights that they have not themselves.
_ABOUT_A_PERSON = frozenset(
    {
        Action.PEOPLE_CREATE,
        Action.PEOPLE_CHANGE,
        Action.PEOPLE_REMOVE,
        Action.PEOPLE_IMPORT,
        Action.PEOPLE_PROVISION,
    }
)
#: What no role of an institution's own can have: who makes roles could give themselves any.
UNGRANTABLE = frozenset({Action.ROLES_CHANGE})


@dataclass(frozen=True, slots=True)
class When:
    """What decisions look at of the institution's settings, and of the moment. `address`: of the page, for refusals."""

    ages: AgeRules = NO_AGES
    week_minute: int = 0
    address: str = ""


SOMEWHEN = When()


def decide(
    actor: Actor, action: Action, thing: Thing = ANYTHING, rules: Sequence[Rule] = (), when: When = SOMEWHEN
) -> Decision:
    """May `actor` do `action` to `thing`? Total and pure: the first that refuses is named. `rules` are held against
    it when everything else says yes.
    """
    if actor.kind == "system":
        return _glass_refuses(actor, action, thing) or Decision(True, "system")
    row = _TABLE[action]
    if thing.glass is not None and _seen_through(actor, action, thing):
        return _rules_refuse(actor, action, thing, rules) or Decision(True, "break_glass")
    return (
        _glass_refuses(actor, action, thing)
        or _scope_refuses(actor, action, row)
        or _role_refuses(actor, action, row, thing)
        or _rank_refuses(actor, action, thing)
        or _model_refuses(actor, action, thing)
        or _place_refuses(actor, action, thing)
        or _bounds_refuse(actor, action, thing, when)
        or _rules_refuse(actor, action, thing, rules)
        or _YES[_column(actor, action, row, thing)]
    )


def permissions(actor: Actor) -> list[str]:
    """What a page may offer `actor`: `keys.read` where they may with their own things (or the thing is nobody's),
    besides `keys.read.managed` where they may with those of people in groups they manage, and `keys.read.all` where
    they may with everybody's.
    """
    mine, managed = Thing(actor.person_id), Thing(groups=frozenset(actor.manages))
    found: list[str] = []
    for action, row in _TABLE.items():
        if _plain(actor, action, row, mine):
            found.append(action.value)
        if row.managed not in (row.own, row.others) and actor.manages and _plain(actor, action, row, managed):
            found.append(f"{action}.managed")
        if not row.is_shared and _plain(actor, action, row, ANYTHING):
            found.append(f"{action}.all")
    return found


def grantable() -> frozenset[str]:
    """Every permission that a role of an institution's own may have: what an administrator may, but make roles."""
    found: set[str] = set()
    for action, row in _TABLE.items():
        if action in UNGRANTABLE:
            continue
        if "administrator" in row.own:
            found.add(action.value)
        if row.managed not in (row.own, row.others):
            found.add(f"{action}.managed")
        if row.own != row.others and "administrator" in row.others:
            found.add(f"{action}.all")
    return frozenset(found)


def role_permissions(role: Role) -> frozenset[str]:
    """What one of `ROLES` may do, in the words that an institution's own role is made of."""
    found: set[str] = set()
    for action, row in _TABLE.items():
        if role in row.own:
            found.add(action.value)
        if role in row.managed and row.managed not in (row.own, row.others):
            found.add(f"{action}.managed")
        if role in row.others and row.own != row.others:
            found.add(f"{action}.all")
    return frozenset(found)


def reach(role: Role, action: Action) -> Literal["yes", "all", "managed", "own", "no"]:
    """How far one of `ROLES` may do an action: `yes` where it makes no difference whose the thing is."""
    row = _TABLE[action]
    if role in row.others:
        return "yes" if row.is_shared else "all"
    if role in row.managed:
        return "managed"
    return "own" if role in row.own else "no"


def scopes_of(granted: frozenset[str]) -> frozenset[Scope]:
    """The scopes that an institution's own role gives: those that cover something of what it may do."""
    actions = {Action(each.removesuffix(".all").removesuffix(".managed")) for each in granted}
    return frozenset(scope for action in actions for scope in _TABLE[action].scopes)


_GRANTS: Mapping[str, frozenset[str]] = {role: role_permissions(role) for role in ROLES}


def _seen_through(actor: Actor, action: Action, thing: Thing) -> bool:
    """Whether an opening lets `actor` do it: one they asked for, which they still may, and of this owner and place."""
    if action not in THROUGH_GLASS or thing.glass is None:
        return False
    may_ask = actor.kind == "system" or _plain(actor, Action.BREAKGLASS_ASK, _TABLE[Action.BREAKGLASS_ASK], _own(actor))
    place_id = thing.place.id if thing.place else None
    return may_ask and thing.glass.lets(actor.person_id, thing.owner_id, place_id)


def _glass_refuses(actor: Actor, action: Action, thing: Thing) -> Decision | None:
    """What not even the console may: read what is another's without an opening; and what nobody may: agree to what
    they have asked for themselves."""
    if action is Action.BREAKGLASS_APPROVE and actor.kind == "system":
        message = "A second person agrees with their own name; the machine's console is nobody."
        return Decision(False, "person_required", message, "Let an administrator or an auditor sign in on the page.")
    if action is Action.BREAKGLASS_APPROVE and thing.owner_id == actor.person_id:
        message = f"You have asked for this yourself: {action} is for a second person."
        return Decision(False, "not_oneself", message, "Ask another administrator, or an auditor.")
    anothers = actor.kind == "system" and thing.owner_id not in (None, actor.person_id)
    if action in THROUGH_GLASS and anothers and not _seen_through(actor, action, thing):
        message = "What people write is theirs alone, also on this machine."
        return Decision(False, "break_glass_needed", message, "See `intramural break-glass ask`.")
    return None


def _own(actor: Actor) -> Thing:
    return Thing(actor.person_id)


def _plain(actor: Actor, action: Action, row: _Row, thing: Thing) -> bool:
    return _scope_refuses(actor, action, row) is None and _role_refuses(actor, action, row, thing) is None


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


def _role_refuses(actor: Actor, action: Action, row: _Row, thing: Thing) -> Decision | None:
    if _column(actor, action, row, thing):
        return None
    if _column(actor, action, row, Thing(actor.person_id)):
        return Decision(
            False,
            "not_yours",
            f"As {_a(actor.role)} you may do {action} only to what is your own.",
            "Ask its owner." if not row.others else f"Ask {_who(row.others)}.",
        )
    if actor.permissions is None and actor.role in row.managed:
        return Decision(
            False,
            "not_in_your_groups",
            f"As {_a(actor.role)} you may do {action} for people of groups that you manage.",
            f"Ask {_who(ADMIN)} to make you manager of the group.",
        )
    return Decision(
        False,
        "role_missing",
        f"{action} is for {_who(row.managed | row.others or row.own)}; you are {_a(actor.role)}.",
        f"Ask {_who(ADMIN)}.",
    )


def _column(actor: Actor, action: Action, row: _Row, thing: Thing) -> str:
    """Which column of the table covers it for the actor's role, or which of their permissions in its place; "" if none
    does. Whose the thing is, is looked at in that order, so that `managed` says that nothing else would."""
    if thing.owner_id == actor.person_id and _holds(actor, row.own, action, ""):
        return "own"
    if _holds(actor, row.others, action, "" if row.is_shared else ".all"):
        return "others"
    managed = bool(thing.groups) and not thing.groups.isdisjoint(actor.manages)
    if managed and _holds(actor, row.managed, action, ".managed"):
        return "managed"
    return "services" if thing.service and _holds(actor, row.services, action, ".all") else ""


#: An actor who may, by the column that says so: "manages" where it is so for the people of one's groups only.
_YES: Mapping[str, Decision] = {
    **{column: Decision(True, "role") for column in ("own", "others", "services")},
    "managed": Decision(True, "manages"),
}


def _holds(actor: Actor, roles: frozenset[Role], action: Action, whose: str) -> bool:
    if actor.permissions is None:
        return actor.role in roles
    if action in ALWAYS:
        return not whose and bool(roles)
    return action.value + whose in actor.permissions and not roles.isdisjoint(LEADS)


def _rank_refuses(actor: Actor, action: Action, thing: Thing) -> Decision | None:
    if action not in _ABOUT_A_PERSON or actor.role == "administrator":
        return None
    beyond = thing.grants - (actor.permissions or _GRANTS.get(actor.role, frozenset()))
    if action is Action.PEOPLE_PROVISION:  # a directory may do nothing itself, and yet keeps the members
        beyond -= _GRANTS["member"]
    if not beyond:
        return None
    return Decision(
        False,
        "beyond_you",
        f"With {action} you would act on somebody who may do {min(beyond)}, which you may not.",
        f"Ask {_who(ADMIN)}.",
    )


def _model_refuses(actor: Actor, action: Action, thing: Thing) -> Decision | None:
    if thing.model is None or action not in _NAMES_A_MODEL:
        return None
    if actor.models is not None and thing.model not in actor.models:
        return Decision(
            False,
            "model_not_allowed",
            f"This key may not use the model {thing.model!r}.",
            f"It may use: {', '.join(sorted(actor.models)) or 'none'}.",
        )
    place = actor.place
    if place is not None and place.models is not None and thing.model not in place.models:
        return Decision(
            False,
            "model_not_in_workspace",
            f"The model {thing.model!r} may not be used in the workspace {place.name!r}.",
            f"There it may be: {', '.join(sorted(place.models)) or 'none'}.",
        )
    return None


def _place_refuses(actor: Actor, action: Action, thing: Thing) -> Decision | None:
    place = actor.place
    if action is Action.WORKSPACE_ENTER and thing.place is not None and actor.workspace not in (None, thing.place.id):
        name = place.name if place else actor.workspace
        message = f"This key is for the workspace {name!r} alone."
        return Decision(False, "other_workspace", message, "Use another key, or leave the workspace out.")
    if action is Action.WORKSPACE_ENTER and not thing.member:
        return Decision(
            False,
            "not_in_workspace",
            "You are not a member of this workspace.",
            f"Ask {_who(ADMIN)} to make you, or a group of yours, a member of it.",
        )
    if action is not Action.WORKSPACE_ENTER and thing.place is not None and thing.place.id != actor.workspace:
        return Decision(
            False, "other_workspace", f"This is of another workspace, {thing.place.name!r}.", "Ask in that workspace."
        )
    if actor.workspace is None:
        return None
    if place is None:
        return Decision(False, "workspace_unknown", "Nothing is known of this workspace.", "Name it by its identifier.")
    if action is Action.MODEL_USE and place.purposes and actor.purpose not in place.purposes:
        said = f"not {actor.purpose!r}" if actor.purpose else "and none was named"
        return Decision(
            False,
            "purpose_required",
            f"In the workspace {place.name!r} models are asked for a purpose of its list, {said}.",
            f"Send X-Intramural-Purpose: {' or '.join(place.purposes)}.",
        )
    return None


def _bounds_refuse(actor: Actor, action: Action, thing: Thing, when: When) -> Decision | None:
    if action is Action.OUTPUTS_REVIEW and not thing.overseer:
        message = "Answers are reviewed by those who were named to oversee what their workspace is declared for."
        return Decision(False, "not_its_overseer", message, f"Ask {_who(ADMIN)} to name you.")
    features = _FEATURES.get(action, ())
    model = thing.model if action in _NAMES_A_MODEL else None
    if not features and model is None:
        return None
    uses = action in _ASKS
    if uses and thing.passing:
        features = (*features, Feature.TEMPORARY)
    if uses and thing.tools:
        features = (*features, Feature.TOOLS)
    return (
        bounds.age_refuses(actor, when.ages, features, model, uses=uses, week_minute=when.week_minute)
        or bounds.consent_refuses(actor, when.ages, features)
        or (bounds.notice_refuses(actor, when.address) if uses else None)
        or (bounds.oversight_refuses(actor) if uses else None)
    )


def _rules_refuse(actor: Actor, action: Action, thing: Thing, rules: Sequence[Rule]) -> Decision | None:
    if not rules:
        return None
    # of what is seen through the glass, the place where it is counts, wherever who asks may be
    place = (thing.place or actor.place) if thing.glass else (actor.place or thing.place)
    facts: Mapping[str, tuple[str, ...]] = {
        "action": (action.value,),
        "role": (actor.role,),
        "kind": (actor.kind,),
        "person": (actor.username,),
        "group": actor.groups or ("",),
        "model": (thing.model or "",),
        "label": (place.label if place else "",),
        "workspace": (place.name if place else "",),
        "purpose": (thing.glass.purpose if thing.glass else actor.purpose,),
        "age": (actor.standing.age,),
    }
    rule = first_match(rules, facts)
    return None if rule is None else Decision(False, f"rule_{rule.name}", rule.reason, rule.hint)


def _a(role: str) -> str:
    return f"an {role}" if role[:1] in "aeiou" else f"a {role}"


def _who(roles: frozenset[Role]) -> str:
    return " or ".join(_a(role) for role in sorted(roles))
