"""One-shot parsers: what they answer, and what becomes of the ones that a hostile file gets the better of."""

import json
import platform
from pathlib import Path
from typing import Any

import pytest
from tests.sandbox.matrix import staged

from intramural.core.errors import Broken, Conflicting, IntramuralError, Untrusted
from intramural.sandbox import Launch, Limits, run_once

_ENTRIES = "tests.sandbox.entries"
_TIMEOUT_S = 60.0
_NO_LIMITS = Limits()


async def _run(name: str, arg: dict[str, Any] | None = None, limits: Limits = _NO_LIMITS) -> Any:
    return await run_once(Launch("parser", f"{_ENTRIES}:{name}", arg or {}, limits=limits), _TIMEOUT_S)


async def test_it_answers() -> None:
    arg = {"text": "ü\n\0", "numbers": [1, 2.5, None, True], "long": "x" * 2**20}
    assert await _run("give_back", arg) == arg


async def test_an_error_comes_back_as_itself() -> None:
    with pytest.raises(Conflicting) as caught:
        await _run("refuse")
    error = caught.value
    assert (error.code, error.message, error.hint, error.param) == ("taken", "That is taken.", "Take another.", "name")
    with pytest.raises(Broken, match="Not so fast"):  # it needs more than a child may say
        await _run("refuse_with_more")


_DEAD = ("fail", "crash", "recurse", "answer_no_json", "start_program")


@pytest.mark.parametrize("how", _DEAD)
async def test_one_that_dies_makes_its_file_untrusted(how: str) -> None:
    with pytest.raises(Untrusted) as caught:
        await _run(how)
    assert caught.value.code == "parser_died"


@pytest.mark.parametrize("how", ["loop", "sleep"])
async def test_one_that_does_not_end_is_ended(how: str) -> None:
    with pytest.raises(Untrusted) as caught:
        await run_once(Launch("parser", f"{_ENTRIES}:{how}", {}), 0.5)
    assert caught.value.code == "parser_timeout"


async def test_processor_time_is_bounded() -> None:
    with pytest.raises(Untrusted) as caught:
        await _run("loop", limits=Limits(cpu_s=1))
    assert caught.value.code == "parser_died"


@pytest.mark.parametrize("limits", [Limits(memory_bytes=2**29), Limits(data_bytes=2**29)])
async def test_memory_is_bounded(limits: Limits) -> None:
    with pytest.raises(Untrusted) as caught:
        await _run("eat_memory", limits=limits)
    assert caught.value.code == "parser_died"


async def test_an_answer_is_bounded() -> None:
    with pytest.raises(Untrusted) as caught:
        await _run("answer_too_much")
    assert caught.value.code == "parser_too_much"


_FORGED = {
    "no JSON": "}{\n",
    "no object": "[]\n",
    "nothing in it": "{}\n",
    "a number": "7\n",
    "half an error": '{"error": {"kind": "Untrusted"}}\n',
    "an error that is none": '{"error": 5}\n',
    "an error of a strange kind": '{"error": {"kind": [], "code": 1, "message": {}, "hint": null, "param": 3}}\n',
    "another name in there": '{"error": {"kind": "__doc__", "code": "c", "message": "", "hint": "", "param": 0}}\n',
    "nesting": "[" * 20_000 + "\n",
    "a number too long": "1" * 20_000 + "\n",
    "no end of line": '{"result"',
    "not even text": "\ud800".encode("utf-8", "surrogatepass").decode("latin-1") + "\n",
}


@pytest.mark.parametrize("answer", _FORGED.values(), ids=_FORGED.keys())
async def test_whatever_it_answers_is_an_error_of_ours(answer: str) -> None:
    with pytest.raises(IntramuralError):
        await _run("forge", {"answer": answer})


_HUGE = "x" * 2**20
_UNSEEMLY = "\x1b[2J\r\u202e\x00"


async def test_the_words_of_its_error_are_bounded_and_plain() -> None:
    """They go into answers, logs and terminals, and may be those of whoever wrote the file."""
    words = {"message": _UNSEEMLY + _HUGE, "hint": "a line\n" + _UNSEEMLY, "param": _UNSEEMLY + _HUGE}
    answer = json.dumps({"error": {"kind": "Untrusted", "code": "gguf_odd", **words}}) + "\n"
    with pytest.raises(Untrusted) as caught:
        await _run("forge", {"answer": answer})
    error = caught.value
    assert (error.code, error.hint.splitlines()[0]) == ("gguf_odd", "a line")
    for text in (error.message, error.hint, error.param or ""):
        assert len(text) <= 1000
        assert not set(text) & set(_UNSEEMLY) - {"[", "2", "J"}


@pytest.mark.parametrize("code", ["", "Two words", "a\nb", "a" * 65, "ä", "\x1b"])
async def test_a_code_that_looks_like_none_is_not_passed_on(code: str) -> None:
    answer = json.dumps({"error": {"kind": "Refused", "code": code, "message": "", "hint": "", "param": None}}) + "\n"
    with pytest.raises(Untrusted) as caught:
        await _run("forge", {"answer": answer})
    assert caught.value.code == "parser_died"


async def test_a_call_of_another_architecture_ends_it() -> None:
    if platform.machine() != "x86_64":
        return  # there is no other way into the kernel on this machine
    with staged() as stage, Path(stage["model"]).open("rb") as model, pytest.raises(Untrusted) as caught:
        arg = {"stage": stage, "names": ["socket through int 0x80"]}
        launch = Launch("parser", "tests.sandbox.attempts:try_all", arg, {"model": model.fileno()})
        await run_once(launch, _TIMEOUT_S)
    assert caught.value.code == "parser_died"
