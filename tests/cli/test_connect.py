"""`connect`: what each program is told, and what happens to settings that were there before."""

import json
import os
import subprocess
import tomllib
from pathlib import Path

import pytest
from tests import preloaded

from intramural.cli.clients import CLIENTS, KEY_VARIABLE, Settings, Told, merged
from intramural.cli.connect import _write, content
from intramural.core.errors import Conflicting, Misasked

TOLD = Told("https://ai.school.example", "small:1b", 8192)
WITH_KEY = Told("https://ai.school.example", "small:1b", 8192, key="im-secret")


@pytest.mark.parametrize("name", CLIENTS)
def test_every_client_is_told_the_address_and_the_model(name: str) -> None:
    settings = CLIENTS[name][1](TOLD)
    told = settings.content + " ".join(settings.then)
    assert "https://ai.school.example" in told
    assert name == "open-webui" or "small:1b" in told  # that one asks for the list itself


@pytest.mark.parametrize("name", CLIENTS)
def test_a_key_stands_only_where_its_owner_gave_it(name: str) -> None:
    without, given = CLIENTS[name][1](TOLD), CLIENTS[name][1](WITH_KEY)
    assert "im-secret" not in without.content
    assert "im-secret" in given.content + " ".join(given.then) or KEY_VARIABLE in given.content + " ".join(given.then)
    assert given.holds_key == (given.file is not None and "im-secret" in given.content)


@pytest.mark.parametrize("name", [n for n, (_, make) in CLIENTS.items() if make(TOLD).kind == "json"])
def test_what_should_be_json_is(name: str) -> None:
    assert isinstance(json.loads(CLIENTS[name][1](TOLD).content), dict)


def test_codex_gets_a_provider_that_speaks_responses() -> None:
    table = tomllib.loads(CLIENTS["codex"][1](TOLD).content)
    provider = table["model_providers"]["intramural"]
    assert (provider["wire_api"], provider["base_url"]) == ("responses", "https://ai.school.example/v1")


def test_programs_shown_are_programs(tmp_path: Path) -> None:
    compile(CLIENTS["python"][1](TOLD).content, "python", "exec")
    file = tmp_path / "shown.mjs"
    file.write_text(CLIENTS["node"][1](TOLD).content)
    subprocess.run(["node", "--check", str(file)], check=True, timeout=60)


def test_merging_keeps_what_was_there() -> None:
    before = {"theme": "dark", "env": {"EDITOR": "vi", "ANTHROPIC_MODEL": "old"}}
    after = merged(before, {"env": {"ANTHROPIC_MODEL": "new"}, "model": "m"})
    assert after == {"theme": "dark", "env": {"EDITOR": "vi", "ANTHROPIC_MODEL": "new"}, "model": "m"}
    assert before["env"] == {"EDITOR": "vi", "ANTHROPIC_MODEL": "old"}


@pytest.mark.parametrize(
    ("kind", "added", "before", "after"),
    [
        ("json", '{"a": 1}', None, '{"a": 1}\n'),
        ("json", '{"a": 1}', "  \n", '{"a": 1}\n'),
        ("json", '{"a": 1}', '{"b": 2}', '{\n  "b": 2,\n  "a": 1\n}\n'),
        ("toml", "[t]\nx = 1", "y = 2", "y = 2\n\n[t]\nx = 1\n"),
        ("whole", "x: 1", None, "x: 1\n"),
    ],
)
def test_what_a_file_holds_afterwards(kind: str, added: str, before: str | None, after: str) -> None:
    assert content(Settings(added, "f", kind), before, Path("f")) == after  # type: ignore[arg-type]  # a literal


@pytest.mark.parametrize(
    ("kind", "before"),
    [
        ("json", "// mine\n{}"),
        ("json", "[1]"),
        ("toml", "= ="),
        ("toml", "[model_providers.intramural]\nname = 'mine'"),
        ("whole", "anything"),
    ],
)
def test_what_cannot_be_kept_is_not_touched(kind: str, before: str) -> None:
    with pytest.raises(Conflicting) as caught:
        content(Settings("{}", "f", kind), before, Path("f"))  # type: ignore[arg-type]  # a literal
    assert caught.value.code == "settings_in_the_way"


def test_writing_keeps_the_first_original_and_hides_keys(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "settings.json"
    settings = Settings('{"key": "im-secret"}', "f", "json", holds_key=True)
    _write("some", settings, file)
    assert file.stat().st_mode & 0o777 == 0o600
    file.write_text('{"mine": 1}')
    _write("some", settings, file)
    _write("some", settings, file)
    assert json.loads(file.read_text()) == {"mine": 1, "key": "im-secret"}
    assert json.loads((file.parent / "settings.json.before-intramural").read_text()) == {"mine": 1}
    assert sorted(each.name for each in file.parent.iterdir()) == ["settings.json", "settings.json.before-intramural"]


def test_nothing_is_written_for_what_has_no_file() -> None:
    with pytest.raises(Misasked, match="curl has no settings file"):
        _write("curl", CLIENTS["curl"][1](TOLD), None)


def test_the_command(tmp_path: Path, starter_wheel: Path) -> None:
    """Against a house of its own: the list, what is printed, what is written, what is refused."""
    environ = {
        **{k: v for k, v in os.environ.items() if not k.startswith("INTRAMURAL_")},
        "HOME": str(tmp_path / "home"),
        "INTRAMURAL_DATA_DIR": str(tmp_path / "data"),
        "INTRAMURAL_LIBRARY_STARTER": str(starter_wheel),
    }

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return preloaded.run(["connect", *words], environ)

    assert run("--quiet").stdout.split() == list(CLIENTS)
    shown = json.loads(run("claude-code", "--json").stdout)
    assert json.loads(shown["content"])["env"]["ANTHROPIC_BASE_URL"] == "http://127.0.0.1:8080"
    assert shown["written"] is False
    assert not (tmp_path / "home/.claude").exists()
    assert run("opencode", "--write", "--address", "https://ai.example/v1/").returncode == 0
    written = json.loads((tmp_path / "home/.config/opencode/opencode.json").read_text())
    assert written["provider"]["intramural"]["options"]["baseURL"] == "https://ai.example/v1"
    assert "There are no settings for 'emacs'" in run("emacs").stderr
    assert "There is no model 'none'" in run("curl", "--model", "none").stderr
