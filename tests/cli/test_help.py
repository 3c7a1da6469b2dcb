"""What the command line says of itself, and what the documentation says of it."""

import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from cyclopts import App, CycloptsError
from tests import preloaded
from tests.service import Service

from intramural.cli import COMMANDS
from intramural.cli.headings import HEADINGS
from intramural.cli.root import cli
from intramural.core.config import SECTIONS, load

ROOT = Path(__file__).parents[2]
DOCS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "docs/dialects").glob("*.md"))]
#: The README's list of all commands.
ALL = re.compile(r"`intramural (serve run chat [^`]+)`")


def commands(app: App, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], App]]:
    for name in app:
        if not name.startswith("-"):
            yield (*words, name), app[name]
            yield from commands(app[name], (*words, name))


def said() -> Iterator[tuple[Path, str]]:
    """Every command line in the documentation: in blocks and tables, and in the midst of a sentence."""
    for page in DOCS:
        text = ALL.sub("", page.read_text("utf-8"))
        for block in re.findall(r"^```(?:sh)?\n(.*?)^```", text, re.S | re.M):
            for line in block.splitlines():
                if re.match(r"(\$ )?intramural [a-z]+( \S|$)", line):
                    yield page, line.removeprefix("$ ")
        for inline in re.findall(r"`(intramural [a-z][^`]*)`", text):
            yield page, " ".join(inline.split())


def problem(line: str) -> str | None:
    """What the command line would not understand of it. One that is only spoken of has no arguments."""
    words = shlex.split(line.split(" < ")[0].replace("ocsf|fhir|jsonl", "ocsf"), comments=True)[1:]
    if tuple(words) in {found for found, _ in commands(cli)}:
        return None
    words = [{"POSITION": "7", "OLD": "7"}.get(word, word) for word in words]
    try:
        cli.parse_args(words, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        return f"{line}: {error}"
    return None


def test_every_command_of_the_documentation_is_one() -> None:
    lines = list(said())
    assert len(lines) > 120
    assert [f"{page.name}: {why}" for page, line in lines if (why := problem(line))] == []


def test_a_command_that_is_none_is_found() -> None:
    assert problem("intramural key revoke im-1")
    assert problem("intramural pull --colour red file:/a.gguf")
    assert problem("intramural rm a b")
    assert problem('intramural quota set "2 streams" --each') is None


def test_the_readme_names_every_command() -> None:
    found = ALL.search((ROOT / "README.md").read_text("utf-8"))
    assert found is not None
    assert sorted(found[1].split()) == sorted(name for name in cli if not name.startswith("-"))


def test_every_command_stands_under_one_heading() -> None:
    assert COMMANDS  # what adds them
    under = [name for names in HEADINGS.values() for name in names]
    assert sorted(under) == sorted(name for name in cli if not name.startswith("-"))


def test_every_command_and_every_option_says_what_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    silent = []
    for words, app in commands(cli):
        if not app.help:
            silent.append(" ".join(words))
        if app.default_command is None:
            continue
        with pytest.raises(SystemExit):
            cli([*words, "--help"])
        shown = capsys.readouterr().out
        assert "[default: False]" not in shown and "--empty-" not in shown and "--no-" not in shown, words
        for argument in app.assemble_argument_collection(parse_docstring=True):
            spoken_of = argument.field_info.kind is argument.field_info.KEYWORD_ONLY and argument.show
            if spoken_of and not argument.parameter.help:
                silent.append(" ".join((*words, argument.name)))
    assert silent == []


def test_the_settings_of_the_documentation_are_settings(tmp_path: Path) -> None:
    """Each block of TOML whose tables are sections of `intramural.toml`, as that file."""
    tried = 0
    for page in DOCS:
        for block in re.findall(r"^```toml\n(.*?)^```", page.read_text("utf-8"), re.S | re.M):
            if tomllib.loads(block).keys() <= SECTIONS.keys():
                (tmp_path / "intramural.toml").write_text(block, "utf-8")
                load({}, data_dir=tmp_path)
                tried += 1
    assert tried >= 8


def test_a_new_installation_is_told_of_and_an_empty_list_is_said_to_be_one(tmp_path: Path) -> None:
    environ = {**Service(tmp_path / "data", Path("none"), {"INTRAMURAL_LIBRARY_STARTER": ""}).environ, "COLUMNS": "500"}
    first, again, quiet = (preloaded.run(["user", "ls", *more], environ) for more in ([], [], ["--quiet"]))
    assert f"Nothing is at {tmp_path / 'data'}: a new installation is made there." in first.stderr
    assert "installation" not in again.stderr
    for shown in (first, again):
        assert shown.stdout.split() == ["NAME", "ROLE", "STATE", "ID"] and "None." in shown.stderr
    assert (quiet.stdout, quiet.stderr) == ("", "")
