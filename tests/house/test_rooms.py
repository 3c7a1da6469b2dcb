"""What each room says of itself: what it promises, what it never does, and in which order it is read, all of it."""

import ast
import re
from pathlib import Path

import pytest

import intramural

ROOT = Path(intramural.__file__).parent
PACKAGES = sorted(each.parent.relative_to(ROOT).as_posix() for each in ROOT.rglob("*/__init__.py"))


def said(package: str) -> str:
    return ast.get_docstring(ast.parse((ROOT / package / "__init__.py").read_text("utf-8"))) or ""


@pytest.mark.parametrize("room", [each for each in PACKAGES if "/" not in each])
def test_a_room_says_what_it_promises_and_what_it_never_does(room: str) -> None:
    assert "Promises:" in said(room) and "Never:" in said(room)


@pytest.mark.parametrize("package", PACKAGES)
def test_the_order_of_reading_names_every_module_once_and_no_other(package: str) -> None:
    _, found, order = said(package).partition("Read in this order: ")
    assert found, "where does one begin?"
    folder = ROOT / package
    there = {each.stem for each in folder.glob("*.py")} - {"__init__", "__main__"}
    there |= {each.parent.name for each in folder.glob("*/*.py")}
    named = re.findall(r"`(\w+)/?`", order)
    assert sorted(set(named)) == sorted(there)
    assert len(named) == len(set(named)), f"twice: {sorted({each for each in named if named.count(each) > 1})}"
