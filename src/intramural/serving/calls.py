"""Tool calls in the words in which models write them: sans-I/O, text in, text and calls out.

Every family of models has its own manner, and small ones mix them. Read are

    <tool_call>{"name": …, "arguments": …}</tool_call>       under this and other tags, closed or not
    <function=NAME>{…}</function>, [TOOL_CALLS]NAME[ARGS]{…}
    <function=NAME><parameter=KEY>VALUE</parameter></function>, <invoke name="NAME"><parameter name="KEY">…
    <tool_call>NAME<arg_key>KEY</arg_key><arg_value>VALUE</arg_value></tool_call>
    ```json … ```                                            fenced, under any language or none
    [NAME(key="value"), …]                                   as Python, bracketed, tagged or fenced
    {"name": …, "arguments": …}, [{…}, …]                    plain, where the answer begins

and nothing is a call but what names one of the request's own tools. Everything else is text and comes out as it was,
as soon as it is certain. Whether arguments fit a tool's schema is not judged here.
"""

import ast
import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from intramural.serving.jsontext import sendable

_FENCE = "```"
#: What a call may begin with anywhere in an answer.
_OPENERS = (
    "<tool_call>", "<tool_calls>", "<tools>", "<function_call>", "<function_calls>", "<functions>", "<|tool_call|>",
    "<|tool_call_start|>", "<|python_tag|>", "<|python_start|>", "<minimax:tool_call>", "[TOOL_CALLS]", "[TOOL_CALL]",
    "<function=", "<invoke name=", _FENCE,
)  # fmt: skip
_OPENER_CHARS = max(map(len, _OPENERS))
#: These belong to the call itself.
_ELEMENTS = ("<function=", "<invoke name=")
#: What may follow a call and is no word to anybody.
_CLOSERS = (
    "</tool_call>", "</tool_calls>", "</tools>", "</function_call>", "</function_calls>", "</functions>", "</function>",
    "</invoke>", "<|/tool_call|>", "<|tool_call_end|>", "<|python_end|>", "<|eom_id|>", "</minimax:tool_call>",
    "[/TOOL_CALLS]", "[/TOOL_CALL]", ",", ";",
)  # fmt: skip
#: Any of these characters may be the first of an opener.
_SIGNS = re.compile(r"[<\[`]")

_NAME, _GAP = r"[a-zA-Z0-9_.:-]{1,128}", r"\s{0,64}"
_LANGUAGE = re.compile(
    r"(?:json|jsonc|xml|python|py|tool_calls?|tool_code|text|plaintext)?[ \t]{0,64}\r?\n", re.IGNORECASE
)
_NAME_FIRST = re.compile(rf"({_NAME}){_GAP}(?:\[CALL_ID\][a-zA-Z0-9]{{0,64}})?(?:\[ARGS\])?{_GAP}(?=\{{)")
_ELEMENT = re.compile(rf"<(?:function=|invoke name=){_GAP}[\"']?({_NAME})[\"']?{_GAP}>{_GAP}")
_ELEMENT_END = re.compile(r"</(?:function|invoke)>")
_PARAMETER = re.compile(rf"<parameter(?:=|{_GAP}name=){_GAP}[\"']?([^\"'>\s]{{1,128}})[\"']?[^>]{{0,128}}>\n?")
_PARAMETER_END = "</parameter>"
_PAIRS_BEGIN, _PAIRS_END = re.compile(rf"({_NAME}){_GAP}<arg_key>"), "</tool_call>"
_KEY = re.compile(rf"<arg_key>{_GAP}([^<]{{1,128}}?){_GAP}</arg_key>{_GAP}<arg_value>")
_KEY_END = "</arg_value>"
_PYTHON = re.compile(rf"\[?{_GAP}({_NAME}){_GAP}\(")
_PYTHON_LIST = re.compile(rf"\[{_GAP}(?:[a-zA-Z_]|$)")
#: How an unfinished one of the above can look.
_NAME_BEGUN = re.compile(
    rf"\[?{_GAP}(?:{_NAME})?{_GAP}(?:(?:\[[A-Z_]{{0,8}}\]?[a-zA-Z0-9]{{0,64}}){{0,2}}|<[a-z_]{{0,8}}){_GAP}"
)

#: Members that hold a call's name, its arguments, or calls. An object that begins with any other member is no call.
_NAME_KEYS = ("name", "function", "tool", "tool_name", "function_name", "action")
_ARGUMENT_KEYS = ("arguments", "parameters", "args", "input", "action_input", "tool_input", "kwargs")
_LIST_KEYS = ("tool_calls", "tool_call", "function_call", "function_calls", "calls")
_FIRST_KEYS = frozenset((*_NAME_KEYS, *_ARGUMENT_KEYS, *_LIST_KEYS, "type", "id"))
_FIRST_KEY = re.compile(r'[\s\[{]*"([^"\\]{0,128})"')
_FIRST_KEY_BEGUN = re.compile(r'[\s\[{]*(?:"[^"\\]{0,128})?')
_OUTSIDE, _IN_QUOTES = re.compile(r"""["'()\[\]{}]"""), re.compile(r"""["'\\]""")
#: What looks for longer as if it might become a call, and what takes longer to end, is text: a worker is not trusted.
_DOUBT_CHARS, _LONGEST_CHARS, _LONGEST_PYTHON_CHARS = 512, 1 << 18, 1 << 14


@dataclass(frozen=True, slots=True)
class Call:
    """A call of one of the tools. Values that stood between tags are texts, whatever they mean."""

    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Found:
    end: int
    calls: Sequence[Call]


#: What is said of a text: where its calls end; that it begins one; that it may yet turn out to; that it does not.
_Reading = _Found | Literal["begun", "doubt", "none"]


class CallsInText:
    """Reads one answer. `names`: the tools there are."""

    def __init__(self, names: Collection[str]) -> None:
        self._names = frozenset(names)
        self._held = ""
        self._begun = False  # words have been said: a bare bracket begins no call any more
        self._after = False  # the last thing was a call
        self._fenced = False  # ... and its fence is still open
        self._extent = _Extent()

    def feed(self, text: str) -> list[str | Call]:
        """What is certain now. Texts are never empty."""
        if not self._held and self._begun and not self._after and not _SIGNS.search(text):
            return [text] if text else []  # as most pieces of most answers are
        self._held += text
        return self._read(ended=False)

    def end(self) -> list[str | Call]:
        """What was held back when the answer ended."""
        return self._read(ended=True)

    def _read(self, *, ended: bool) -> list[str | Call]:
        out: list[str | Call] = []
        while self._held:
            if self._after and not self._past_closers(ended=ended):
                break
            bare = not self._begun or self._after
            lead = len(self._held) - len(self._held.lstrip()) if bare else 0
            if bare and self._held[lead : lead + 1] in ("", "{", "["):
                at, whole = lead, True
            else:
                at, whole = _sign(self._held)
            if at > lead:
                self._say(at, out)
                continue
            body, fenced = _opened(self._held, at)
            reading = self._calls(body) if whole else "doubt"
            patience = {"doubt": _DOUBT_CHARS, "begun": _LONGEST_CHARS, "none": 0}
            if isinstance(reading, _Found):
                out += reading.calls
                self._held, self._after = self._held[reading.end :], True
                self._fenced, self._extent = fenced or self._fenced, _Extent()
            elif not ended and len(self._held) < patience[reading]:
                break
            else:
                self._say(max(body, at + 1), out)
        return out

    def _say(self, size: int, out: list[str | Call]) -> None:
        text, self._held = self._held[:size], self._held[size:]
        self._begun, self._after, self._fenced = self._begun or not text.isspace(), False, False
        self._extent = _Extent()
        if out and isinstance(out[-1], str):
            out[-1] += text
        else:
            out.append(text)

    def _past_closers(self, *, ended: bool) -> bool:
        """Drop what closes a call. False: nothing is left, or what is may yet turn out to be a closer."""
        closers = (*_CLOSERS, _FENCE) if self._fenced else _CLOSERS
        while True:
            self._held = self._held.lstrip()
            closer = next((each for each in closers if self._held.startswith(each)), None)
            if closer is None:
                return bool(self._held) and (ended or not any(each.startswith(self._held) for each in closers))
            if closer == _FENCE:
                self._fenced, closers = False, _CLOSERS
            self._held = self._held[len(closer) :]

    def _calls(self, at: int) -> _Reading:
        """The calls that stand from `at`."""
        text = self._held
        if _begins_opener(text, at):
            return "doubt"
        if text[at] == "{" or (text[at] == "[" and not _PYTHON_LIST.match(text, at)):
            return self._json(at)
        if text.startswith(_ELEMENTS, at):
            return self._element(at)
        return self._named(at)

    def _json(self, at: int) -> _Reading:
        key = _FIRST_KEY.match(self._held, at)
        if key is None:
            return "doubt" if _FIRST_KEY_BEGUN.fullmatch(self._held, at) else "none"
        if key[1] not in _FIRST_KEYS and key[1] not in self._names:
            return "none"
        end = self._extent.end(self._held, at)
        if end is None:
            return "begun"
        calls = _in_json(loads(self._held[at:end]), self._names)
        return _Found(end, calls) if calls else "none"

    def _element(self, at: int) -> _Reading:
        """<function=NAME>… or <invoke name="NAME">…, holding JSON or parameters."""
        text = self._held
        begun = _ELEMENT.match(text, at)
        if begun is None:
            return "none" if ">" in text[at:] else "doubt"
        name = _known(begun[1], self._names)
        if name is None:
            return "none"
        if text.startswith("{", begun.end()):
            end = self._extent.end(text, begun.end())
            if end is None:
                return "begun"
            arguments = loads(text[begun.end() : end])
            return _Found(end, [Call(name, arguments)]) if isinstance(arguments, dict) else "none"
        ended = _ELEMENT_END.search(text, begun.end())
        if ended is None:
            return "begun"
        parameters = _pairs(text[begun.end() : ended.start()], _PARAMETER, _PARAMETER_END)
        return _Found(ended.end(), [Call(name, parameters)])

    def _named(self, at: int) -> _Reading:
        """NAME{…}, NAME<arg_key>…, NAME(…) or [NAME(…), …]."""
        text = self._held
        if (first := _NAME_FIRST.match(text, at)) is not None and (name := _known(first[1], self._names)):
            end = self._extent.end(text, first.end())
            if end is None:
                return "begun"
            arguments = loads(text[first.end() : end])
            return _Found(end, [Call(name, arguments)]) if isinstance(arguments, dict) else "none"
        if (pairs := _PAIRS_BEGIN.match(text, at)) is not None and (name := _known(pairs[1], self._names)):
            end = text.find(_PAIRS_END, pairs.end())
            if end < 0:
                return "begun"
            return _Found(end, [Call(name, _pairs(text[pairs.end(1) : end], _KEY, _KEY_END))])
        if (python := _PYTHON.match(text, at)) is not None and _known(python[1], self._names):
            begin = at if text[at] == "[" else python.end() - 1
            end = self._extent.end(text, begin)
            if end is None:
                return "begun"
            calls = _in_python(text[at:end], self._names) if end - at < _LONGEST_PYTHON_CHARS else ()
            return _Found(end, calls) if calls else "none"
        return "doubt" if _NAME_BEGUN.fullmatch(text, at) else "none"


def _sign(text: str) -> tuple[int, bool]:
    """Where the first thing stands that begins a call or may yet do so, and whether it is there whole."""
    for sign in _SIGNS.finditer(text):
        at = sign.start()
        if text.startswith(_OPENERS, at):
            return at, True
        if _begins_opener(text, at):
            return at, False
    return len(text), False


def _begins_opener(text: str, at: int) -> bool:
    rest = text[at : at + _OPENER_CHARS]
    return len(rest) < _OPENER_CHARS and any(each.startswith(rest) for each in _OPENERS)


def _opened(text: str, at: int) -> tuple[int, bool]:
    """Where the inside begins of all the tags and fences that stand at `at`, and whether a fence is among them."""
    fenced = False
    while True:
        opener = next((each for each in _OPENERS if each not in _ELEMENTS and text.startswith(each, at)), None)
        if opener is None:
            return at, fenced
        at += len(opener)
        if opener == _FENCE:
            fenced = True
            language = _LANGUAGE.match(text, at)
            at = language.end() if language else at
        while at < len(text) and text[at].isspace():
            at += 1


class _Extent:
    """Finds where a bracket that is still being written closes: every character is looked at once."""

    def __init__(self) -> None:
        self._at: int | None = None
        self._depth = 0
        self._quote = ""

    def end(self, text: str, begin: int) -> int | None:
        """Just behind the bracket that closes the one at `begin`; None: not there yet. Ask for one bracket only."""
        at = begin if self._at is None else self._at
        while at < len(text):
            found = (_IN_QUOTES if self._quote else _OUTSIDE).search(text, at)
            if found is None:
                at = len(text)
                break
            sign, at = found[0], found.end()
            if sign == "\\":
                if at == len(text):
                    at -= 1  # what it escapes is still to come
                    break
                at += 1
            elif self._quote:
                self._quote = "" if sign == self._quote else self._quote
            elif sign in "\"'":
                self._quote = sign
            else:
                self._depth += 1 if sign in "([{" else -1
                if self._depth == 0:
                    return at
        self._at = at
        return None


def loads(text: str) -> Any:
    """JSON as models write it: with line breaks in strings. None for what is none."""
    try:
        value = json.loads(text, strict=False, parse_constant=_refused)
        return json.loads(sendable(value)) if "\\u" in text else value
    except (ValueError, RecursionError):
        return None


def _refused(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")


def _pairs(text: str, begin: re.Pattern[str], end: str) -> dict[str, str]:
    """Names and values between tags. What is not closed ends it: each character is looked at once."""
    found: dict[str, str] = {}
    opened = begin.search(text)
    while opened is not None and (closed := text.find(end, opened.end())) >= 0:
        found[opened[1]] = text[opened.end() : closed].removesuffix("\n")
        opened = begin.search(text, closed)
    return found


def _known(name: str, names: Collection[str]) -> str | None:
    """The tool that `name` means."""
    bare = name.removeprefix("functions.")
    return next((each for each in (name, bare, re.sub(r":\d+$", "", bare)) if each in names), None)


def _in_json(value: Any, names: Collection[str]) -> list[Call]:
    """All the calls that `value` is; none if any part of it is something else."""
    if isinstance(value, list):
        each = [_in_json(item, names) for item in value]
        return [call for calls in each for call in calls] if all(each) else []
    if not isinstance(value, dict):
        return []
    for key in _LIST_KEYS:
        if isinstance(value.get(key), list | dict):
            return _in_json(value[key], names)
    if isinstance(value.get("function"), dict):
        return _in_json(value["function"], names)
    name = next((value[key] for key in _NAME_KEYS if isinstance(value.get(key), str)), None)
    if name is not None and (known := _known(name, names)) is not None:
        arguments: Any = next((value[key] for key in _ARGUMENT_KEYS if key in value), {})
        arguments = loads(arguments) if isinstance(arguments, str) else arguments
        return [Call(known, arguments)] if isinstance(arguments, dict) else []
    if len(value) == 1:  # {NAME: {…}}
        ((name, arguments),) = value.items()
        if name in names and isinstance(arguments, dict):
            return [Call(name, arguments)]
    return []


def _in_python(text: str, names: Collection[str]) -> list[Call]:
    try:
        body = ast.parse(text.strip(), mode="eval").body
        return [_in_python_call(each, names) for each in (body.elts if isinstance(body, ast.List) else [body])]
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return []


def _in_python_call(node: ast.expr, names: Collection[str]) -> Call:
    if not isinstance(node, ast.Call) or node.args:
        raise ValueError("no call by keywords")
    name = _known(ast.unparse(node.func), names)
    if name is None:
        raise ValueError("no tool")
    arguments: dict[str, Any] = {
        word.arg: ast.literal_eval(word.value) for word in node.keywords if word.arg is not None
    }
    return Call(name, json.loads(json.dumps(arguments)))
