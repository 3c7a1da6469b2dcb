"""All that is kept of one person, table by table: shown for their export, counted and removed for their erasure.

Every table of the schema is in one of the two lists below; a test fails for a new one that is in neither.
"""

import json
import zlib
from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import ColumnElement, Row, Table, delete, func, select, update
from sqlalchemy.sql.expression import FromClause

from intramural.storage import Connection, Database
from intramural.storage import schema as t
from intramural.vault import places
from intramural.vault.vault import Vault

_Whose = Callable[[str], ColumnElement[bool]]


def _by(column: Any) -> _Whose:
    return lambda person_id: column == person_id


def _within(column: Any, table: Table) -> _Whose:
    return lambda person_id: column.in_(select(table.c.id).where(table.c.person_id == person_id))


def _by_name(column: Any) -> _Whose:
    named = select(t.people.c.username)
    return lambda person_id: column == named.where(t.people.c.id == person_id).scalar_subquery()


#: Whose the rows of a table are.
OF_PEOPLE: Mapping[Table, _Whose] = {
    t.people: _by(t.people.c.id),
    t.sessions: _by(t.sessions.c.person_id),
    t.keys: _by(t.keys.c.person_id),
    t.identities: _by(t.identities.c.person_id),
    t.invitations: _by(t.invitations.c.person_id),
    t.external_people: _by(t.external_people.c.person_id),
    t.code_makers: _by(t.code_makers.c.person_id),
    t.recovery_codes: _by(t.recovery_codes.c.person_id),
    t.passkeys: _by(t.passkeys.c.person_id),
    t.quota_limits: lambda person_id: (
        (t.quota_limits.c.subject == "person") & (t.quota_limits.c.subject_id == person_id)
    ),
    t.quota_balances: _by(t.quota_balances.c.who),
    t.group_members: _by(t.group_members.c.person_id),
    t.workspace_people: _by(t.workspace_people.c.person_id),
    t.person_ages: _by(t.person_ages.c.person_id),
    t.consents: _by(t.consents.c.person_id),
    t.acknowledgements: _by(t.acknowledgements.c.person_id),
    t.workspace_overseers: _by(t.workspace_overseers.c.person_id),
    t.audit_entries: _by(t.audit_entries.c.actor_id),
    t.audit_texts: _by(t.audit_texts.c.person_id),
    t.usage: _by(t.usage.c.person_id),
    t.chats: _by(t.chats.c.person_id),
    t.chat_messages: _within(t.chat_messages.c.chat_id, t.chats),
    t.responses: _by(t.responses.c.person_id),
    t.response_items: _within(t.response_items.c.response_id, t.responses),
    t.transcripts: _by(t.transcripts.c.person_id),
    t.transcript_items: _within(t.transcript_items.c.transcript_id, t.transcripts),
    t.pulls: _by_name(t.pulls.c.requested_by),
    t.files: _by(t.files.c.person_id),
    t.file_passages: _within(t.file_passages.c.file_id, t.files),
    t.batches: _by(t.batches.c.person_id),
    t.batch_lines: _within(t.batch_lines.c.batch_id, t.batches),
    t.chat_roots: _by(t.chat_roots.c.person_id),
    # what they asked for; what was asked for of them goes with them, and stands in their notices
    t.openings: _by(t.openings.c.asker_id),
    t.opening_notices: _by(t.opening_notices.c.person_id),
    t.data_keys: _by(t.data_keys.c.person_id),
    t.erasures: _by(t.erasures.c.person_id),
    t.legal_holds: lambda person_id: (t.legal_holds.c.subject == "person") & (t.legal_holds.c.subject_id == person_id),
    # what they asked to connect to; what they decided is the installation's
    t.egress_entries: _by(t.egress_entries.c.asked_by),
    t.legal_hold_people: _by(t.legal_hold_people.c.person_id),
}
#: Tables without anybody in them. The words of an index are in `file_passages`, as they were written.
OF_NOBODY = frozenset(
    {
        t.setup_tokens,
        t.groups,
        t.roles,
        t.workspaces,
        t.workspace_groups,
        t.notices,
        t.notice_texts,
        t.declared_uses,
        t.audit_checkpoints,
        t.model_settings,
        t.crashed_weights,
        t.quota_holds,  # of answers under way: numbers, and whose they are, until they have ended
        t.vault_steps,
        t.file_words,
    }
)
#: What lets somebody in, or opens what is sealed, is nobody's to have.
_SECRET = frozenset(
    {
        t.people.c.password_hash,
        t.sessions.c.token_hash,
        t.sessions.c.csrf_token,
        t.keys.c.key_hash,
        t.invitations.c.token_hash,
        t.code_makers.c.secret,
        t.recovery_codes.c.code_hash,
        t.passkeys.c.credential_id,
        t.passkeys.c.public_key,
        t.data_keys.c.wrapped,
        t.audit_entries.c.leaf_hash,
        t.legal_holds.c.reason,  # nor is what others say of a matter
        t.legal_holds.c.lifted_reason,
    }
)
#: Stays after an erasure, under an identifier that leads to nobody any more: the log must go on to verify, and what
#: was used was used.
STAYS = frozenset({t.audit_entries, t.usage, t.erasures})
_SEALED = {each.column: each for each in places.ALL}


async def shown(db: Database, vault: Vault, person_id: str) -> dict[str, list[dict[str, Any]]]:
    """Every row of this person's by table, opened. Raises Untrusted(`sealed_wrong`)."""
    found: dict[str, list[dict[str, Any]]] = {}
    async with db.reading() as connection:
        for table, whose in OF_PEOPLE.items():
            columns = [column for column in table.c if column not in _SECRET]
            wanted = (
                select(*columns)
                .where(whose(person_id))
                .order_by(*(c for c in table.primary_key.columns if c not in _SECRET))
            )
            rows = (await connection.execute(wanted)).all()
            found[table.name] = [_shown(vault, person_id, table, row) for row in rows]
    return found


def _shown(vault: Vault, person_id: str, table: Table, row: Row[Any]) -> dict[str, Any]:
    values = dict(row._mapping)
    for column in table.c:
        sealed = _SEALED.get(column)
        if sealed is not None and values[column.name] is not None:
            at = places.row_id(*(values[key.name] for key in sealed.keys))
            value = vault.reveal(person_id, sealed.place, at, values[column.name])
            values[column.name] = _read(zlib.decompress(value) if sealed is places.RESPONSE_EVENTS else value)
        elif isinstance(values.get(column.name), bytes):
            values[column.name] = _read(values[column.name])
    return values


def _read(value: bytes) -> Any:
    """JSON where it is that, else text."""
    try:
        return json.loads(value) if value[:1] in (b"{", b"[") else value.decode()
    except ValueError:
        return value.decode(errors="replace")


async def counted(connection: Connection, person_id: str) -> dict[str, int]:
    """How many rows of this person's each table has, those without any left out."""
    found: dict[str, int] = {}
    for table, whose in OF_PEOPLE.items():
        source: FromClause = table
        rows = await connection.scalar(select(func.count()).select_from(source).where(whose(person_id)))
        if rows:
            found[table.name] = int(rows)
    return found


async def remove(connection: Connection, person_id: str) -> None:
    """Delete every row of this person's but those that stay, in the caller's transaction. Their keys are `Vault`'s."""
    name = select(t.people.c.username).where(t.people.c.id == person_id).scalar_subquery()
    await connection.execute(update(t.pulls).where(t.pulls.c.requested_by == name).values(requested_by=""))
    asked = OF_PEOPLE[t.egress_entries](person_id)
    await connection.execute(update(t.egress_entries).where(asked).values(asked_by=None, about=None))
    await connection.execute(delete(t.audit_texts).where(t.audit_texts.c.person_id == person_id))
    # holds: those that were lifted
    for table in (t.quota_limits, t.quota_balances, t.legal_holds, t.openings):
        await connection.execute(delete(table).where(OF_PEOPLE[table](person_id)))
    await connection.execute(delete(t.people).where(t.people.c.id == person_id))  # and all that refers to it
