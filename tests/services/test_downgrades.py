"""Whatever the settings give up has a name, says where it stands, and is told with its consequence."""

from pathlib import Path

import pytest

from intramural.core import config as settings
from intramural.sandbox import Level, Posture
from intramural.sandbox.seal import SealLevel
from intramural.services.downgrades import downgrades


def _posture(level: Level = Level.FULL) -> Posture:
    return Posture(level, 7, True, True, True, "6.18")


#: (variables, posture, the seal in force) → (setting, value, in force)
_TABLE: tuple[tuple[dict[str, str], Level, SealLevel | None, tuple[tuple[str, str, bool], ...]], ...] = (
    ({}, Level.FULL, "full", ()),
    ({}, Level.NO_NETNS, "full", ()),  # nothing is served then: nothing was given up
    ({"SANDBOX_REQUIRED_LEVEL": "no-netns"}, Level.NO_NETNS, "full", (("sandbox.required_level", "no-netns", True),)),
    ({"SANDBOX_REQUIRED_LEVEL": "no-netns"}, Level.FULL, "full", (("sandbox.required_level", "no-netns", False),)),
    (
        {"SANDBOX_REQUIRED_LEVEL": "no-landlock", "SANDBOX_SEAL": "no-landlock"},
        Level.NO_LANDLOCK,
        "no-landlock",
        (("sandbox.required_level", "no-landlock", True), ("sandbox.seal", "no-landlock", True)),
    ),
    ({"SANDBOX_SEAL": "off"}, Level.FULL, "off", (("sandbox.seal", "off", True),)),
    ({"SANDBOX_SEAL": "off"}, Level.FULL, None, ()),
    ({"EGRESS_MODE": "open"}, Level.FULL, "full", (("egress.mode", "open", True),)),
    ({"CONSENT_LABEL_ANSWERS": "false"}, Level.FULL, "full", (("consent.label_answers", "false", True),)),
    ({"CONSENT_AI_NOTICE": "off"}, Level.FULL, "full", (("consent.ai_notice", "off", True),)),
)


@pytest.mark.parametrize(("given", "level", "seal", "expected"), _TABLE)
def test_every_named_one(
    given: dict[str, str],
    level: Level,
    seal: SealLevel | None,
    expected: tuple[tuple[str, str, bool], ...],
    tmp_path: Path,
) -> None:
    variables = {f"INTRAMURAL_{name}": value for name, value in given.items()}
    found = downgrades(settings.load(variables, data_dir=tmp_path), _posture(level), seal)
    assert tuple((each.setting, each.value, each.in_force) for each in found) == expected
    for each in found:
        assert each.origin == f"INTRAMURAL_{each.setting.replace('.', '_').upper()}"
        assert each.says.endswith(".")


def test_it_says_which_file_names_it(tmp_path: Path) -> None:
    (tmp_path / "intramural.toml").write_text('[sandbox]\nseal = "off"\n')
    [found] = downgrades(settings.load({}, data_dir=tmp_path), _posture(), "off")
    assert found.origin == "intramural.toml"


def test_an_engine_outside_is_one(tmp_path: Path) -> None:
    (tmp_path / "engines.toml").write_text(
        '[far]\nkind = "vllm"\naddress = "https://gpu.example:8000"\noutside = true\n'
        "context_tokens = 8192\nmodels = { m = {} }\n"
    )
    [found] = downgrades(settings.load({}, data_dir=tmp_path), _posture(), "full")
    assert (found.setting, found.origin) == ("engines.far.outside", "engines.toml")
    assert "https://gpu.example:8000" in found.says


def test_an_engine_in_clear_is_one_unless_it_is_on_this_machine(tmp_path: Path) -> None:
    rest = "cleartext = true\ncontext_tokens = 8192\nmodels = { m%d = {} }\n"
    text = "".join(
        f'[e{number}]\nkind = "vllm"\naddress = "{address}"\n{rest % number}'
        for number, address in enumerate(("http://10.0.0.7:8000", "http://127.0.0.1:8000", "https://10.0.0.7:8000"))
    )
    (tmp_path / "engines.toml").write_text(text)
    found = downgrades(settings.load({}, data_dir=tmp_path), _posture(), "full")
    assert [each.setting for each in found] == ["engines.e0.cleartext"]
