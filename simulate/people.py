"""Those who ask, and what they are told: each request ends for its person in exactly one way."""

import asyncio
import traceback
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path

from intramural.core.actor import Actor
from intramural.core.chat import ChatRequest, Delta, Finished, Message, Sampling, Usage
from intramural.core.errors import IntramuralError
from intramural.core.work import Work
from simulate.life import House
from simulate.loop import Loop
from simulate.plan import Ask


@dataclass
class Told:
    """What became of a request, as far as its person knows. `outcome`: finished, left, cut off, an error's code, or
    empty while nobody knows. `began_s` and `ended_s`: when it was sent, when it was over."""

    ask: Ask
    life: int
    began: bool = False
    usage: Usage | None = None
    outcome: str = ""
    began_s: float = 0.0
    ended_s: float = 0.0
    texts: dict[int, str] = field(default_factory=dict)
    ends: list[int] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @property
    def request_id(self) -> str:
        return f"req_{self.ask.name}"

    def ended(self, outcome: str, now_s: float) -> None:
        if self.outcome:
            self.wrong.append(f"ended twice: {self.outcome}, {outcome}")
        self.outcome, self.ended_s = outcome, now_s


def actor_of(ask: Ask) -> Actor:
    """Whoever asks."""
    work = Work.BATCH if ask.batch else Work.INTERACTIVE
    scopes = frozenset({"inference"})
    return Actor(
        "key", ask.person, ask.person, "member", scopes, f"key_{ask.person}", work=work, repeatable=ask.repeatable  # type: ignore[arg-type]
    )  # fmt: skip


async def asks(house: House, told: Told, loop: Loop) -> None:
    """Ask, read to the end or leave before, and note what comes."""
    ask = told.ask
    told.began_s = loop.time()
    try:
        async with asyncio.timeout(ask.cancelled_s):
            await (_embeds if ask.kind == "embed" else _chats)(house, told)
        outcome = told.outcome or "finished"
    except TimeoutError:
        outcome = "cut off"
    except IntramuralError as error:
        outcome = error.code
    except Exception as error:  # whatever it is, nobody promised it
        outcome = "not an error of ours"
        told.wrong.append(f"was told {type(error).__name__}: {str(error).splitlines()[0]} ({_places(error)})")
    told.outcome = ""
    told.ended(outcome, loop.time())
    _check(told)


async def _chats(house: House, told: Told) -> None:
    ask, seen = told.ask, 0
    text = " ".join([ask.person, ask.name, *("w" for _ in range(ask.words))])
    sampling = Sampling(max_tokens=ask.tokens, seed=7 if ask.deterministic else None)
    request = ChatRequest(
        id=told.request_id,
        model=ask.model,
        messages=(Message("user", text),),
        sampling=sampling,
        choices=ask.choices,
        deterministic=ask.deterministic,
    )
    answer = house.inference.answer(actor_of(ask), request, "openai", "chat")
    async with aclosing(answer) as events:
        if ask.leaves == 0:
            told.outcome = "left"
            return
        async for event in events:
            told.began = True
            seen += 1
            if told.usage is not None:
                told.wrong.append("something came after the counts")
            match event:
                case Delta(index=index, text=piece):
                    told.texts[index] = told.texts.get(index, "") + piece
                    if index in told.ends:
                        told.wrong.append("text came after the end of its choice")
                case Finished(index=index):
                    told.ends.append(index)
                case Usage():
                    told.usage = event
                case _:
                    told.wrong.append(f"nobody asked for {type(event).__name__}")
            if seen == ask.leaves:
                told.outcome = "left"
                return
            if ask.pause_s:
                await asyncio.sleep(ask.pause_s)


async def _embeds(house: House, told: Told) -> None:
    ask = told.ask
    text = " ".join([ask.person, ask.name, *("w" for _ in range(ask.words))])
    found = await house.inference.embed(actor_of(ask), ask.model, [text], "openai", told.request_id)
    told.began = True
    told.usage = Usage(found.prompt_tokens, 0)
    told.ends = list(range(ask.choices))


def _check(told: Told) -> None:
    """What came is the asker's own, in order, and once; and all of it, if it came to its end."""
    ask, finished = told.ask, told.outcome == "finished"
    if finished and (told.usage is None or sorted(told.ends) != list(range(ask.choices))):
        told.wrong.append(f"finished with {told.usage} and the ends {told.ends}")
    if told.outcome == "preempted":
        told.wrong.append("was told that it made room, which is nothing to be told")
    for text in told.texts.values():
        words = text.split()
        if words != [f"{ask.name}.{number}" for number in range(len(words))]:
            told.wrong.append(f"was answered {text[:80]!r}")
        counted = told.usage is not None and told.usage.completion_tokens == len(words) * ask.choices
        if finished and counted and ask.tokens is not None and len(words) != ask.tokens:
            told.wrong.append(f"has {len(words)} words of {ask.tokens}")


def _places(error: BaseException) -> str:
    """Where it was raised, in the service's own files."""
    frames = [each for each in traceback.extract_tb(error.__traceback__) if "/intramural/" in each.filename]
    return " < ".join(f"{Path(each.filename).stem}.{each.name}:{each.lineno}" for each in reversed(frames))
