"""Notices: what people have to be told, who tells them, and who has read it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from msgspec import structs

from intramural.access import Action, Draft, Notices, People, Thing, Uses
from intramural.access.notices import Acknowledged, Notice, Reach, digest_of, unread_of
from intramural.audit import AuditLog, Event, Fact
from intramural.core.actor import SYSTEM, Actor
from intramural.core.config import ConsentConfig
from intramural.core.errors import Conflicting, Misasked, Missing
from intramural.services.gate import Gate

#: The notice that every installation has (AI Act, article 50(1)).
AI_NOTICE = "notice_ai"
MODES = ("shown", "blocking", "off")
_MODEL = "{model}"
_ANY_MODEL = "the model that is named above every conversation"


@dataclass(frozen=True, slots=True)
class Reader:
    """Somebody who has read a notice as it is now."""

    person_id: str
    how: str
    time_ms: int


class NoticeDesk:
    """Notices. `open` when the house is opened."""

    def __init__(
        self, gate: Gate, notices: Notices, uses: Uses, people: People, audit: AuditLog, config: ConsentConfig
    ) -> None:
        """Raises Misasked(`bad_setting`)."""
        if config.ai_notice not in MODES:
            message = f"consent.ai_notice is {config.ai_notice!r:.40}."
            raise Misasked("bad_setting", message, f"It is one of {', '.join(MODES)}.")
        self._gate = gate
        self._notices = notices
        self._uses = uses
        self._people = people
        self._audit = audit
        self._config = config

    async def open(self) -> None:
        """At start: the notice that one talks to an AI is as the settings say."""
        wanted = None if self._config.ai_notice == "off" else ai_notice(self._config)
        there = next((each for each in await self._notices.shown() if each.id == AI_NOTICE), None)
        if (None if there is None else there.draft) == wanted:
            return
        async with self._audit.transaction() as (connection, record):
            if wanted is None:
                await self._notices.end(connection, AI_NOTICE)
                record(Event.NOTICE_ENDED, SYSTEM, target=f"notice:{AI_NOTICE}")
            else:
                notice = await self._notices.put(connection, wanted, AI_NOTICE)
                record(Event.NOTICE_CHANGED, SYSTEM, target=f"notice:{AI_NOTICE}", facts=facts(notice))

    @property
    def institution(self) -> str:
        """How the institution is called; empty where nobody said."""
        return self._config.institution.strip()

    # for those who read

    async def unread(self, actor: Actor, model: str = "") -> list[Notice]:
        """Those that `actor` has yet to read where they ask now, those that block first; named `model` where one is."""
        await self._gate.require(actor, Action.NOTICES_READ, owner_id=actor.person_id)
        if actor.kind == "system":
            return []
        read = await self._notices.acknowledged(actor.person_id)
        found = unread_of(actor, await self._notices.shown(), read)
        return sorted((filled(each, model) for each in found), key=lambda each: not each.draft.blocking)

    async def acknowledge(self, actor: Actor, notice_id: str, digest: str) -> bool:
        """`actor` has read the version that `digest` names. False: that was known.

        Raises Missing(`notice_not_found`), Conflicting(`notice_changed`) where it has another text by now.
        """
        target = f"notice:{notice_id}"
        await self._gate.require(actor, Action.NOTICES_ACKNOWLEDGE, target=target, owner_id=actor.person_id)
        await self._people.get(actor.person_id)  # the console is no person
        async with self._audit.transaction() as (connection, record):
            notice = await self._notices.one(connection, notice_id)
            if notice.digest != digest:
                message = "The notice has another text by now."
                raise Conflicting("notice_changed", message, "Read it again; then say that you have.")
            done = await self._notices.acknowledge(connection, actor.person_id, notice, "page")
            read = {"digest": digest, "how": "page", "person": actor.person_id}
            record(Event.NOTICE_READ, actor, target=target, facts=read)
        return done

    async def acknowledged(self, actor: Actor) -> list[Acknowledged]:
        """What `actor` has read."""
        await self._gate.require(actor, Action.NOTICES_READ, owner_id=actor.person_id)
        return await self._notices.acknowledged(actor.person_id)

    async def text(self, actor: Actor, notice_id: str, digest: str) -> tuple[str, str]:
        """Title and text of a version. Raises Missing(`notice_not_found`)."""
        await self._gate.require(actor, Action.NOTICES_READ, owner_id=actor.person_id)
        return await self._notices.text(notice_id, digest)

    # for those who write

    async def list(self, actor: Actor) -> Sequence[tuple[Notice, Reach]]:
        """All that are shown to anybody, and how far each has come."""
        await self._gate.require(actor, Action.NOTICES_READ)
        shown = await self._notices.shown()
        reach = await self._notices.reach(shown)
        return [(each, reach[each.id]) for each in shown]

    async def put(self, actor: Actor, draft: Draft, notice_id: str | None = None) -> Notice:
        """Make a notice, or change one. With another text everybody has to read it again.

        Raises as `Notices.put`, Refused(`use_declared_needs`) for one that a declared use needs as it is.
        """
        await self._gate.require(actor, Action.NOTICES_CHANGE, target=f"notice:{notice_id or 'new'}")
        async with self._audit.transaction() as (connection, record):
            if notice_id is not None:
                there = await self._notices.one(connection, notice_id)
                if notice_id == AI_NOTICE:
                    raise Conflicting("notice_of_settings", "This notice is made of the settings.", "See [consent].")
                if not draft.blocking or draft.audience != there.draft.audience:
                    await self._uses.require_notice_free(connection, notice_id)
            notice = await self._notices.put(connection, draft, notice_id)
            record(Event.NOTICE_CHANGED, actor, target=f"notice:{notice.id}", facts=facts(notice))
        return notice

    async def end(self, actor: Actor, notice_id: str) -> None:
        """Show it to nobody any more. Raises Missing(`notice_not_found`), Refused(`use_declared_needs`)."""
        await self._gate.require(actor, Action.NOTICES_CHANGE, target=f"notice:{notice_id}")
        if notice_id == AI_NOTICE:
            raise Conflicting("notice_of_settings", "This notice is made of the settings.", "See [consent].")
        async with self._audit.transaction() as (connection, record):
            await self._uses.require_notice_free(connection, notice_id)
            await self._notices.end(connection, notice_id)
            record(Event.NOTICE_ENDED, actor, target=f"notice:{notice_id}")

    async def on_paper(self, actor: Actor, notice_id: str, person_id: str) -> bool:
        """Somebody else has signed on paper that they have read it. False: that was known."""
        try:
            thing = await self._people.thing(person_id)
        except Missing:
            thing = Thing()
        target = f"notice:{notice_id}"
        await self._gate.require(
            actor, Action.NOTICES_ACKNOWLEDGE, target=target, thing=structs.replace(thing, owner_id=None)
        )
        await self._people.get(person_id)
        async with self._audit.transaction() as (connection, record):
            notice = await self._notices.one(connection, notice_id)
            done = await self._notices.acknowledge(connection, person_id, notice, "paper")
            read: dict[str, Fact] = {"digest": notice.digest, "how": "paper", "person": person_id}
            record(Event.NOTICE_READ, actor, target=target, facts=read)
        return done

    async def readers(self, actor: Actor, notice_id: str) -> Sequence[Reader]:
        """Who has read it as it is now."""
        await self._gate.require(actor, Action.NOTICES_READ)
        notice = await self._notices.get(notice_id)
        return [Reader(*each) for each in await self._notices.readers(notice)]


def ai_notice(config: ConsentConfig) -> Draft:
    """The notice that one talks to an AI. Pure."""
    whose = f"of {config.institution}" if config.institution.strip() else "of your institution"
    text = (
        f"You are talking to an AI, not to a person: to {_MODEL}, which runs on machines {whose}.\n\n"
        "It writes what is likely to follow, and can be wrong, also when it sounds sure. Check what matters, and ask a "
        "person about decisions that concern somebody.\n\n"
        "What you write stays on these machines. That you asked, when, and which model answered is recorded."
    )
    return Draft("everyone", "You are talking to an AI", text, config.ai_notice == "blocking")


def filled(notice: Notice, model: str) -> Notice:
    """The notice with the name of the model in the place that is left for it; its digest is of the text without."""
    text = notice.draft.text.replace(_MODEL, f"`{model}`" if model else _ANY_MODEL)
    return replace(notice, draft=replace(notice.draft, text=text))


def facts(notice: Notice) -> dict[str, Fact]:
    """For the log."""
    return {
        "digest": digest_of(notice.draft),
        "audience": notice.draft.audience,
        "blocking": notice.draft.blocking,
        "title": notice.draft.title,
    }
