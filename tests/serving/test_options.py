"""What may be set for a model's engine."""

import pytest

from intramural.core.errors import Misasked
from intramural.serving.options import PLAIN, EngineOptions, as_text, options_for, parse_options


def test_one_model_before_any() -> None:
    given = parse_options(["*: flash=on kv=q8_0", "qwen3:8b: kv=q4_0 context=32768 slots=1", "a: speculative=draft:b"])
    assert options_for(given, "other") == EngineOptions(kv="q8_0", flash="on")
    assert options_for(given, "qwen3:8b") == EngineOptions(kv="q4_0", flash="on", context_tokens=32768, slots=1)
    assert options_for(given, "a").draft == "b"
    assert options_for({}, "a") is PLAIN
    assert as_text(options_for(given, "qwen3:8b")) == "kv=q4_0 flash=on context_tokens=32768 slots=1"


def test_lines_for_one_model_add_up() -> None:
    given = parse_options(["m: rope=yarn:4", "m: windows=full", "m: rope=linear:2.5"])
    assert options_for(given, "m") == EngineOptions(full_windows=True, rope="linear", stretch=2.5)
    assert options_for(parse_options(["*: rope=yarn:2", "m: rope=none"]), "m") == PLAIN


@pytest.mark.parametrize(
    "line",
    [
        "kv=q8_0", "m:", "m: kv", "m: kv=q5_1", "m: flash=yes", "m: rope=yarn", "m: rope=yarn:9", "m: rope=linear:1",
        "m: rope=linear:nan", "m: rope=yarn:inf", "m: speculative=draft", "m: speculative=ngram:b", "m: slots=0",
        "m: slots=65", "m: context=-1", "m: context=9999999", "m: path=/etc/passwd", "m: kv=q8_0 flash=off",
        "m: speculative=draft:m", "m: adapter=", "m: adapter=a*0",
        "m: adapter=a*9", "m: adapter=a*nan", "m: adapter=a adapter=a", "m: gpu_layers=x", "m: experts_on_cpu=513",
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_at_the_start(line: str) -> None:
    with pytest.raises(Misasked) as caught:
        parse_options([line])
    assert caught.value.code == "bad_setting"


def test_adapters_add_up() -> None:
    given = parse_options(["m: adapter=a adapter=law:v2*0.5"])
    assert options_for(given, "m").adapters == (("a", 1.0), ("law:v2", 0.5))


def test_a_cache_for_any_and_no_flash_for_one() -> None:
    with pytest.raises(Misasked):
        parse_options(["*: kv=q8_0", "m: flash=off"])
