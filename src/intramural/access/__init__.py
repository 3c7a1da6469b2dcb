"""Who is asking, and may they?

Promises: passwords are kept as argon2id, keys and session tokens only as keyed hashes; a secret is shown once, when it
is made; a change (a key revoked, a person disabled, a role taken away) holds once its transaction is durable, whatever
process made it, because who is asking is read anew for every request; hashing passwords never takes more than its share
of the machine; at least one enabled administrator remains, always.
Never: knows HTTP (cookies, headers, numbers), opens a connection, writes the audit log, or decides on anything but
`policy.decide`'s table.

A change takes the open connection of the caller's transaction, so that the act and its audit event are one commit.
Passwords are hashed before (`People.hash_new`), because nobody may wait 80 ms with the database's only writer in hand.

Read in this order: `rules`, `glass`, `policy`, `naming`, `passwords`, `throttle`, `secret`, `roles`, `people`,
`groups`, `workspaces`, `keys`, `sessions`, `setup`, `identify`, `seal`, `once`, `totp`, `factors`, `passkeys`, `oidc`,
`identities`, `rosters`, `external`, `openings`, `access`.
"""

from intramural.access.access import Access
from intramural.access.external import External
from intramural.access.glass import PURPOSES, Glass, Opening
from intramural.access.groups import KEEP, Group, Groups, Keep, Member
from intramural.access.identify import Identify
from intramural.access.identities import Identities, Identity
from intramural.access.keys import Key, Keys
from intramural.access.openings import Notice, Openings
from intramural.access.passwords import HashedPassword
from intramural.access.people import People, PeoplePage, Person, Proven, Sought
from intramural.access.policy import ANYTHING, Action, Decision, Thing, decide, permissions
from intramural.access.roles import CustomRole, Roles
from intramural.access.rules import Policy, Rule
from intramural.access.rules import read as read_rules
from intramural.access.seal import Seal
from intramural.access.sessions import Session, Sessions
from intramural.access.setup import Setup
from intramural.access.workspaces import Charter, Workspace, Workspaces

__all__ = [
    "ANYTHING",
    "KEEP",
    "PURPOSES",
    "Access",
    "Action",
    "Charter",
    "CustomRole",
    "Decision",
    "External",
    "Glass",
    "Group",
    "Groups",
    "HashedPassword",
    "Identify",
    "Identities",
    "Identity",
    "Keep",
    "Key",
    "Keys",
    "Member",
    "Notice",
    "Opening",
    "Openings",
    "People",
    "PeoplePage",
    "Person",
    "Policy",
    "Proven",
    "Roles",
    "Rule",
    "Seal",
    "Session",
    "Sessions",
    "Setup",
    "Sought",
    "Thing",
    "Workspace",
    "Workspaces",
    "decide",
    "permissions",
    "read_rules",
]
