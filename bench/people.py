"""A district puts its people on it: 5,000 people in 500 groups from a OneRoster bundle, 200 of them signing in at once,
and what it costs to decide for one of them. The service is the real program, without a model; /healthz is asked all the
while.
"""

import asyncio
import io
import itertools
import json
import sqlite3
import statistics
import sys
import tempfile
import time
import zipfile
from asyncio.subprocess import PIPE
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import uvloop
from tests.service import Service

from bench.table import show
from intramural.access import Access, Action, Thing, decide
from intramural.access.passwords import Cost, Passwords
from intramural.access.policy import Decision
from intramural.access.rules import Rule
from intramural.core.actor import Actor
from intramural.core.clock import SystemClock
from intramural.core.config import AccessConfig
from intramural.storage import Database

PEOPLE, TEACHERS, SCHOOLS, CLASSES, EACH = 5_000, 300, 19, 480, 6
STORM = 200
PASSWORD = "a sentence nobody guesses"
_DECISIONS, _LOOKUPS = 20_000, 2_000


def main() -> None:
    """Run it."""
    with tempfile.TemporaryDirectory() as folder:
        settings = {"INTRAMURAL_LIBRARY_STARTER": ""}
        service = Service(Path(folder) / "data", Path("none"), settings, afresh=True)
        service.start()
        service.set_up()
        try:
            imported(service)
            stormed(service)
        finally:
            service.stop()
        decided(Path(folder) / "data")


# importing ------------------------------------------------------------------------------------------------------------


def bundle(leaving: int = 0) -> bytes:
    """The district; without the first `leaving` of its people, and with as many new ones."""
    orgs = ["sourcedId,status,name,type,parentSourcedId", "d,,District,district,"]
    orgs += [f"s{n},,School {n},school,d" for n in range(SCHOOLS)]
    classes = ["sourcedId,status,title,schoolSourcedId"]
    classes += [f"c{n},,Class {n},s{n % SCHOOLS}" for n in range(CLASSES)]
    users = ["sourcedId,status,enabledUser,orgSourcedIds,role,username,givenName,familyName,email"]
    enrolments = ["sourcedId,status,classSourcedId,userSourcedId,role"]
    for number in range(leaving, PEOPLE + leaving):
        person = f"u{number}"
        role = "teacher" if number % (PEOPLE // TEACHERS) == 0 else "student"
        school = number % SCHOOLS
        address = f"{person}@district.example"
        users.append(f"{person},,true,s{school},{role},{address},Given,Family,{address}")
        for nth in range(EACH):
            taken = (school + SCHOOLS * ((number // SCHOOLS + 4 * nth) % (CLASSES // SCHOOLS))) % CLASSES
            enrolments.append(f"e{person}-{nth},,c{taken},{person},{role}")
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, lines in (("orgs", orgs), ("classes", classes), ("users", users), ("enrollments", enrolments)):
            archive.writestr(f"{name}.csv", "\n".join(lines))
    return sink.getvalue()


def imported(service: Service) -> None:
    """The first import, the same again, and one in which a tenth has changed."""
    _, health = uvloop.run(beside(service, lambda _: asyncio.sleep(10)))
    rows = [["nothing, for 10 s", "–", "–", *health]]
    for what, data, more in (
        ("dry run", bundle(), {"dry_run": "true"}),
        ("first import", bundle(), {}),
        ("the same again", bundle(), {}),
        ("a tenth leaves, a tenth comes", bundle(PEOPLE // 10), {"disable_missing": "true"}),
    ):
        (took_s, changes), health = uvloop.run(beside(service, lambda session, d=data, m=more: sent(service, d, m)))
        rows.append([what, f"{took_s:.1f} s", f"{changes:,}", *health])
    about = (
        f"{PEOPLE:,} people, {SCHOOLS + CLASSES + 1} groups, {PEOPLE * EACH:,} enrolments; SQLite and log as always."
    )
    show("Taking in a district", about, ["", "took (aim: 60 s)", "changes, each with its event", *_HEALTH], rows)


async def sent(service: Service, data: bytes, query: dict[str, str]) -> tuple[float, int]:
    """Seconds, and how many changes there were."""
    began = time.perf_counter()
    cookies = dict(service.session.cookies)
    headers = {"X-CSRF-Token": str(service.session.headers["X-CSRF-Token"])}
    async with aiohttp.ClientSession(cookies=cookies, timeout=aiohttp.ClientTimeout(600)) as session:
        url = f"{service.address}/intramural/v1/people/import"
        async with session.post(url, data=data, params={"source": "sis", **query}, headers=headers) as answer:
            text = await answer.text()
            assert answer.status == 200, text[:500]
    states = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]
    assert "error" not in states[-1], states[-1]
    return time.perf_counter() - began, sum(states[0]["changes"].values())


# signing in -----------------------------------------------------------------------------------------------------------


def stormed(service: Service) -> None:
    """Everybody at the same moment, each from an address of their own, and all from one."""
    people = service.page("GET", "/people").json()["people"]
    names = [each["username"] for each in people if "@" in each["username"] and not each["disabled_ms"]][:STORM]
    hashed = asyncio.run(Passwords().hash(PASSWORD, "")).text
    with sqlite3.connect(service.data_dir / "intramural.db", timeout=30) as connection:
        connection.executemany("UPDATE people SET password_hash = ? WHERE username = ?", [(hashed, n) for n in names])
    rows = []
    for what, work in (
        ("nobody, for 10 s", "import time; time.sleep(10)"),
        ("nobody; another program hashes", _HASHING),
    ):
        _, health = uvloop.run(beside(service, lambda _, w=work: program(w)))
        rows.append([what, "–", "–", "–", *health])
    for what, alone in (("each from an address of their own", True), ("all from one address", False)):
        (times, told), health = uvloop.run(beside(service, lambda _, a=alone: storm(service, names, alone=a)))
        seen = sorted(times)
        taken = f"{seen[0]:.1f} / {statistics.median(seen):.1f} / {seen[-1]:.1f} s"
        rows.append([what, f"{len(seen)} of {len(names)}", taken, str(told), *health])
    about = f"{STORM} people sign in with their passwords at once; whoever is told to come back does so."
    columns = ["", "signed in", "first / median / last", "times told to come back", *_HEALTH]
    show("A storm of sign-ins", about, columns, rows)


#: What a storm costs the machine, by somebody who has nothing to do with the service.
_HASHING = f"""
import argon2, time
hasher, end = argon2.PasswordHasher({Cost().passes}, {Cost().memory_kib}, {Cost().lanes}), time.monotonic() + 20
while time.monotonic() < end: hasher.hash("x")
"""


async def program(text: str) -> None:
    """Another Python program, to its end."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", text)
    assert await process.wait() == 0


async def storm(service: Service, names: list[str], *, alone: bool) -> tuple[list[float], int]:
    """How long each took until they were signed in, and how often somebody was told to come back."""
    told, times = 0, []
    gate = asyncio.Event()

    async def sign_in(number: int, name: str) -> None:
        nonlocal told
        address = f"127.0.{1 + number // 250}.{1 + number % 250}" if alone else "127.0.0.1"
        connector = aiohttp.TCPConnector(local_addr=(address, 0))
        async with aiohttp.ClientSession(connector=connector) as session:
            await gate.wait()
            began = time.perf_counter()
            body = {"username": name, "password": PASSWORD}
            while time.perf_counter() - began < 90:
                async with session.post(f"{service.address}/intramural/v1/login", json=body) as answer:
                    if answer.status == 200:
                        times.append(time.perf_counter() - began)
                        return
                    assert answer.status == 429, await answer.text()
                    told += 1
                    wait_s = min(30.0, float(answer.headers["Retry-After"]))
                await asyncio.sleep(wait_s)

    tasks = [asyncio.ensure_future(sign_in(number, name)) for number, name in enumerate(names)]
    await asyncio.sleep(1)
    gate.set()
    await asyncio.gather(*tasks)
    return times, told


# health ---------------------------------------------------------------------------------------------------------------

_HEALTH = ("/healthz p50", "p99", "worst (aim: 100 ms)")


async def beside(
    service: Service, work: Callable[[aiohttp.ClientSession], Awaitable[Any]]
) -> tuple[Any, tuple[str, str, str]]:
    """What `work` gives, and how /healthz answered meanwhile."""
    command = (sys.executable, "-m", "bench._asker", service.address.removeprefix("http://"), "/healthz")
    asker = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE)
    await asyncio.sleep(0.5)
    async with aiohttp.ClientSession() as session:
        found = await work(session)
    told, _ = await asker.communicate(b"")
    times = sorted(json.loads(told))
    p50, p99, worst = statistics.median(times), times[int(len(times) * 0.99)], times[-1]
    return found, (f"{p50:.1f} ms", f"{p99:.1f} ms", f"{worst:.0f} ms")


# deciding -------------------------------------------------------------------------------------------------------------


def decided(data_dir: Path) -> None:
    """With the district in the database: who is asking (facts), and may they (the decision)."""
    facts, decision = uvloop.run(_decided(data_dir))
    rows = [
        ["who is asking: key → person, role, groups and those around them", facts, "–"],
        ["decide, without rules of the institution's own", decision[0], "50 µs"],
        ["decide, with 20 rules, of which half concern it", decision[1], "50 µs"],
    ]
    show("Deciding for one of 5,000", f"Median of {_LOOKUPS:,}; best of five.", ["", "takes", "aim"], rows)


async def _decided(data_dir: Path) -> tuple[str, tuple[str, str]]:
    db = await Database.open(data_dir / "intramural.db")
    access = await Access.open(db, data_dir / "secrets", AccessConfig(), SystemClock())
    person = next(each for each in await access.people.list() if each.role == "manager" and not each.disabled_ms)
    async with db.writing() as connection:
        _, secret = await access.keys.create(connection, person.id, "bench", ["inference", "admin"])
    times = []
    for _ in range(_LOOKUPS):
        began = time.perf_counter()
        actor = await access.identify.by_key(secret)
        times.append(time.perf_counter() - began)
    groups = len(actor.groups)
    p99_s = sorted(times)[int(_LOOKUPS * 0.99)]
    found = f"{statistics.median(times) * 1e6:.0f} µs (p99 {p99_s * 1e6:.0f}; {groups} groups)"
    decisions = _timed(actor, ()), _timed(actor, _rules())
    await access.close()
    await db.close()
    return found, decisions


def _timed(actor: Actor, rules: tuple[Rule, ...]) -> str:
    thing = Thing(model="tiny:1b", groups=frozenset(itertools.islice(actor.groups, 3)))
    best = min(_round(actor, thing, rules) for _ in range(5))
    return f"{best / _DECISIONS * 1e6:.1f} µs"


def _round(actor: Actor, thing: Thing, rules: tuple[Rule, ...]) -> float:
    began = time.process_time()
    said: Decision | None = None
    for _ in range(_DECISIONS):
        said = decide(actor, Action.MODEL_USE, thing, rules)
    assert said is not None and said.allowed
    return time.process_time() - began


def _rules() -> tuple[Rule, ...]:
    actions = ("model.use", "people.read")
    return tuple(
        Rule(f"rule{n}", {"action": frozenset({actions[n % 2]}), "group": frozenset({f"group_{n}"})}, {}, "why", "what")
        for n in range(20)
    )


if __name__ == "__main__":
    main()
