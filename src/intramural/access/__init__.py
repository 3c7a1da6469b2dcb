"""Who is asking, and may they?

Promises: passwords are kept as argon2id, keys and session tokens only as keyed hashes; a secret is shown once, when it
is made; a change (a key revoked, a person disabled, a role taken away) holds once its transaction is durable, whatever
process made it, because who is asking is read anew for every request; hashing passwords never takes more than its share
of the machine; at least one enabled administrator remains, always.
Never: knows HTTP (cookies, headers, numbers), opens a connection, writes the audit log, or decides on anything but
`policy.decide`'s table.

A change takes the open connection of the caller's transaction, so that the act and its audit event are one commit.
Passwords are hashed before (`People.hash_new`), because nobody may wait 80 ms with the database's only writer in hand.

Read in this order: `ages`, `rules`, `decision`, `glass`, `bounds`, `policy`, `naming`, `common`, `passwords`,
`throttle`, `secret`, `roles`, `people`, `groups`, `uses`, `workspaces`, `notices`, `consents`, `standing`, `keys`,
`sessions`, `lately`, `setup`, `identify`, `seal`, `once`, `totp`, `factors`, `passkeys`, `oidc`, `ldap`, `identities`,
`rosters`, `external`, `openings`, `access`.
"""

from intramural.access.access import Access
from intramural.access.ages import NO_AGES, AgeRules, AgeTable, Feature, Floor, band_of
from intramural.access.consents import Consent, Consents, Given
from intramural.access.decision import Decision
from intramural.access.external import External
from intramural.access.glass import PURPOSES, Glass, Opening
from intramural.access.groups import KEEP, Group, Groups, Keep, Member
from intramural.access.identify import Identify
from intramural.access.identities import Identities, Identity
from intramural.access.keys import Key, Keys
from intramural.access.notices import Draft, Notices
from intramural.access.openings import Notice, Openings
from intramural.access.passwords import HashedPassword
from intramural.access.people import People, PeoplePage, Person, Proven, Sought
from intramural.access.policy import ANYTHING, Action, Thing, When, decide, permissions
from intramural.access.roles import CustomRole, Roles
from intramural.access.rules import Policy, Rule
from intramural.access.rules import read as read_rules
from intramural.access.seal import Seal
from intramural.access.sessions import Session, Sessions
from intramural.access.setup import Setup
from intramural.access.uses import Declaration, Uses
from intramural.access.workspaces import Charter, Workspace, Workspaces

__all__ = [
    "ANYTHING",
    "KEEP",
    "NO_AGES",
    "PURPOSES",
    "Access",
    "Action",
    "AgeRules",
    "AgeTable",
    "Charter",
    "Consent",
    "Consents",
    "CustomRole",
    "Decision",
    "Declaration",
    "Draft",
    "External",
    "Feature",
    "Floor",
    "Given",
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
    "Notices",
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
    "Uses",
    "When",
    "Workspace",
    "Workspaces",
    "band_of",
    "decide",
    "permissions",
    "read_rules",
]
