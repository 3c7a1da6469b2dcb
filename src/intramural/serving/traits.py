"""What a loaded model can do, asked of its worker once: its template and its vocabulary say it, no table of names.

The engine tells what a template takes (`/props`); whether its model thinks is seen by rendering one message with
thinking asked for and forbidden. `judge` decides from that and does nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

import msgspec

from intramural.core.chat import ChatRequest
from intramural.core.errors import IntramuralError, Misasked
from intramural.serving.exchange import Exchange
from intramural.serving.slots import Place
from intramural.serving.thoughts import TAGS

#: never: it has no place for thinking. always: it thinks whatever one says. either: as one says.
Thinks = Literal["never", "always", "either"]

#: Further marks of thinking in templates whose tags the engine parses by itself.
_MARKS = (*TAGS.values(), "<|END_THINKING|>", "<|channel|>analysis", "</|think|>")
#: How vocabularies write the tokens before, between and after what a gap is filled from (prefix, suffix, gap).
_GAPS = (
    ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"),
    ("<fim_prefix>", "<fim_suffix>", "<fim_middle>"),
    ("<fim-prefix>", "<fim-suffix>", "<fim-middle>"),
    ("<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"),
    ("<|code_prefix|>", "<|code_suffix|>", "<|code_middle|>"),
    ("<PRE>", "<SUF>", "<MID>"),
    ("▁<PRE>", "▁<SUF>", "▁<MID>"),
    ("[PREFIX]", "[SUFFIX]", "[MIDDLE]"),
)

_Body = TypeVar("_Body", bound=msgspec.Struct)


class Asking(Protocol):
    """A slot of a worker, or just the worker."""

    async def ask(self, method: str, target: str, body: bytes) -> Exchange:
        """One request. Raises Broken if the worker is gone."""
        ...

    async def whole(self, target: str, body: object, shape: type[_Body]) -> _Body:
        """A response that is not a stream, in its shape. `body` None: a GET."""
        ...

    async def place(self, request: ChatRequest) -> Place:
        """Where in the worker `request` is to be computed, which is sent next."""
        ...

    def begun(self, status: int) -> None:
        """The worker answered what was sent to that place, with `status`."""
        ...

    async def traits(self) -> "Traits":
        """What the worker's model can do."""
        ...

    async def quiet(self) -> None:
        """Return once the worker computes nothing: also not for a client that has just left."""
        ...

    def refusal(self, exchange: Exchange, status: int, body: bytes) -> IntramuralError:
        """What a response other than 200 stands for."""
        ...

    def can_pause(self) -> None:
        """What is written could be gone on with: from now on reading may raise Unavailable(`preempted`)."""
        ...

    async def blame(self, error: IntramuralError) -> IntramuralError:
        """What to tell the client when `error` came up: why the worker was ended, if it was."""
        ...


@dataclass(frozen=True, slots=True)
class Gap:
    """The tokens that ask for a gap to be filled: `start` PREFIX `between` SUFFIX `after`."""

    start: tuple[int, ...]
    between: int
    after: int


@dataclass(frozen=True, slots=True)
class Traits:
    """What a model can do. `degrees`: its template takes an effort. `tools`: its template tells it of tools, and of
    calls that were made. `gap` None: it cannot fill one. `grammars`: its engine takes them."""

    thinks: Thinks = "never"
    degrees: bool = False
    tools: bool = False
    gap: Gap | None = None
    grammars: bool = True


class _Caps(msgspec.Struct):
    supports_reasoning_effort: bool = False
    supports_tools: bool = False
    supports_tool_calls: bool = False


class _Props(msgspec.Struct):
    chat_template: str = ""
    chat_template_caps: _Caps = msgspec.field(default_factory=_Caps)


class Prompt(msgspec.Struct):
    """What `/apply-template` answers."""

    prompt: str


class Tokens(msgspec.Struct):
    """What `/tokenize` answers."""

    tokens: list[int]


def judge(template: str, degrees: bool, asked: str, forbidden: str) -> Thinks:
    """Whether the model behind `template` thinks; `asked` and `forbidden` are one message rendered with and without."""
    if asked != forbidden:
        return "either"
    opened = asked.rstrip().endswith(tuple(TAGS))
    return "always" if opened or degrees or any(mark in template for mark in _MARKS) else "never"


async def discover(worker: Asking) -> Traits:
    """Ask `worker`. Some small requests; the answer holds for as long as the worker lives."""
    props = await worker.whole("/props", None, _Props)
    caps = props.chat_template_caps
    degrees, tools = caps.supports_reasoning_effort, caps.supports_tools and caps.supports_tool_calls
    try:
        asked, forbidden = [await _rendered(worker, thinking) for thinking in (True, False)]
    except Misasked:  # a template that takes no lone message of a person's
        asked = forbidden = ""
    return Traits(judge(props.chat_template, degrees, asked, forbidden), degrees, tools, await _gap(worker))


def thinking_words(thinking: bool) -> Mapping[str, bool]:
    """The switch, under the names that templates know it by."""
    return {"enable_thinking": thinking, "thinking": thinking}


async def _rendered(worker: Asking, thinking: bool) -> str:
    body = {"messages": [{"role": "user", "content": "x"}], "chat_template_kwargs": thinking_words(thinking)}
    return (await worker.whole("/apply-template", body, Prompt)).prompt


async def _gap(worker: Asking) -> Gap | None:
    for texts in _GAPS:
        found = (await worker.whole("/tokenize", {"content": "".join(texts), "parse_special": True}, Tokens)).tokens
        if len(found) == len(texts):
            begin = (await worker.whole("/tokenize", {"content": "", "add_special": True}, Tokens)).tokens
            return Gap((*begin[:1], found[0]), found[1], found[2])
    return None


async def with_gap(worker: Asking, prefix: str | tuple[int, ...], suffix: str) -> tuple[int, ...]:
    """The prompt that asks for what stands between `prefix` and `suffix`. Raises Misasked(`no_infill`).

    The engine has a route for this, which silently cuts both texts to part of a batch; so the prompt is made here.
    """
    gap = (await worker.traits()).gap
    if gap is None:
        raise Misasked(
            "no_infill", "This model cannot fill in a middle.", "Leave `suffix` out, or ask a model made for code.",
            param="suffix",
        )  # fmt: skip
    before = prefix if isinstance(prefix, tuple) else await _text(worker, prefix)
    return (*gap.start, *before, gap.between, *await _text(worker, suffix), gap.after)


async def _text(worker: Asking, text: str) -> tuple[int, ...]:
    return tuple((await worker.whole("/tokenize", {"content": text}, Tokens)).tokens)
