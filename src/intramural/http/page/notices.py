"""Notices: reading them, and writing them."""

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, Field

from intramural.access import Draft
from intramural.access.notices import MAX_TEXT_CHARS, MAX_TITLE_CHARS, Notice
from intramural.http.doors import Doors
from intramural.http.page.routing import routes
from intramural.http.page.shapes import In
from intramural.services.notices import AI_NOTICE

Id = Annotated[str, Path(max_length=64)]
Digest = Annotated[str, Path(max_length=80)]


class NoticeIn(In):
    title: str = Field(min_length=1, max_length=MAX_TITLE_CHARS)
    text: str = Field(min_length=1, max_length=MAX_TEXT_CHARS, description="Markdown.")
    audience: str = Field(
        default="everyone",
        max_length=MAX_TITLE_CHARS,
        description="`everyone`, `role:NAME`, `group:ID`, `workspace:ID` or `age:BAND`.",
    )
    blocking: bool = Field(default=False, description="Whether models answer only who has read it.")


class NoticeOut(BaseModel):
    id: str
    title: str
    text: str
    audience: str
    blocking: bool
    digest: str
    changed_ms: int


class NoticeListed(NoticeOut):
    readers: int = Field(description="How many have read it as it is now.")
    unread: int = Field(description="How many of those who are let in, and whom it is for, have not.")
    fixed: bool = Field(description="It is made of the settings, and cannot be changed here.")


class UnreadOut(BaseModel):
    notices: list[NoticeOut]
    labelled: bool = Field(description="Whether what models write here says that an AI wrote it.")
    institution: str


class ReadIn(In):
    digest: str = Field(min_length=1, max_length=80, description="Of the version that was read.")


class ReadOut(BaseModel):
    notice_id: str
    digest: str
    title: str
    how: str
    time_ms: int


class ReaderOut(BaseModel):
    person_id: str
    how: str
    time_ms: int


class TextOut(BaseModel):
    title: str
    text: str


def router(doors: Doors) -> APIRouter:
    """`/notices…` and `/me/notices`."""
    api = routes("notices")
    _reading(api, doors)
    _writing(api, doors)
    return api


def _reading(api: APIRouter, doors: Doors) -> None:
    desk = doors.services.notices

    @api.get("/notices")
    async def unread(request: Request, model: Annotated[str, Query(max_length=200)] = "") -> UnreadOut:
        """The notices that one has yet to read, those that block first; `model` is named in them."""
        caller = await doors.identify(request)
        return UnreadOut(
            notices=[_notice(each) for each in await desk.unread(caller.actor, model)],
            labelled=doors.services.inference.labels(caller.actor),
            institution=desk.institution,
        )

    @api.post("/notices/{notice_id}/acknowledge")
    async def acknowledge(notice_id: Id, given: ReadIn, request: Request) -> dict[str, bool]:
        """Say that one has read a version of a notice."""
        caller = await doors.identify(request)
        return {"new": await desk.acknowledge(caller.actor, notice_id, given.digest)}

    @api.get("/me/notices")
    async def own(request: Request) -> dict[str, list[ReadOut]]:
        """What one has read, when and how."""
        caller = await doors.identify(request)
        return {
            "read": [
                ReadOut(
                    notice_id=each.notice_id, digest=each.digest, title=each.title, how=each.how, time_ms=each.time_ms
                )
                for each in await desk.acknowledged(caller.actor)
            ]
        }

    @api.get("/notices/{notice_id}/versions/{digest}")
    async def version(notice_id: Id, digest: Digest, request: Request) -> TextOut:
        """A version of a notice as it was read."""
        caller = await doors.identify(request)
        title, text = await desk.text(caller.actor, notice_id, digest)
        return TextOut(title=title, text=text)


def _writing(api: APIRouter, doors: Doors) -> None:
    desk = doors.services.notices

    @api.get("/notices/all")
    async def listed(request: Request) -> dict[str, list[NoticeListed]]:
        """Every notice that is shown to anybody, how many have read it as it is now, and how many have not."""
        caller = await doors.identify(request)
        return {
            "notices": [
                NoticeListed(**_notice(each).model_dump(), **asdict(reach), fixed=each.id == AI_NOTICE)
                for each, reach in await desk.list(caller.actor)
            ]
        }

    @api.post("/notices", status_code=201)
    async def create(given: NoticeIn, request: Request) -> NoticeOut:
        """Make a notice."""
        caller = await doors.identify(request)
        return _notice(await desk.put(caller.actor, _draft(given)))

    @api.put("/notices/{notice_id}")
    async def change(notice_id: Id, given: NoticeIn, request: Request) -> NoticeOut:
        """Change a notice as a whole; with another text everybody has to read it again."""
        caller = await doors.identify(request)
        return _notice(await desk.put(caller.actor, _draft(given), notice_id))

    @api.delete("/notices/{notice_id}", status_code=204)
    async def end(notice_id: Id, request: Request) -> None:
        """Show a notice to nobody any more; who read it stays recorded."""
        caller = await doors.identify(request)
        await desk.end(caller.actor, notice_id)

    @api.get("/notices/{notice_id}/readers")
    async def readers(notice_id: Id, request: Request) -> dict[str, list[ReaderOut]]:
        """Who has read a notice as it is now."""
        caller = await doors.identify(request)
        found = await desk.readers(caller.actor, notice_id)
        return {"readers": [ReaderOut(person_id=each.person_id, how=each.how, time_ms=each.time_ms) for each in found]}

    @api.put("/notices/{notice_id}/readers/{person_id}")
    async def on_paper(notice_id: Id, person_id: Id, request: Request) -> dict[str, bool]:
        """Write down that somebody has signed on paper that they read it."""
        caller = await doors.identify(request)
        return {"new": await desk.on_paper(caller.actor, notice_id, person_id)}


def _draft(given: NoticeIn) -> Draft:
    return Draft(given.audience, given.title, given.text, given.blocking)


def _notice(notice: Notice) -> NoticeOut:
    draft = notice.draft
    return NoticeOut(
        id=notice.id,
        title=draft.title,
        text=draft.text,
        audience=draft.audience,
        blocking=draft.blocking,
        digest=notice.digest,
        changed_ms=notice.changed_ms,
    )
