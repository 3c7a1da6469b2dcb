"""The table of points is whole: each place is in the program, each has a test that has it die there, and the page of
documentation is of the same points."""

import ast
from pathlib import Path

import pytest
from tests.faults.at import found
from tests.faults.points import POINTS

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("point", POINTS, ids=lambda point: point.name)
def test_every_point_has_a_place_and_a_test(point: object) -> None:
    assert isinstance(point, type(POINTS[0]))
    if point.where:
        found(point)
    file, _, name = point.test.partition("::")
    text = (ROOT / file).read_text("utf-8")
    functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    (function,) = [each for each in functions if each.name == name]
    source = "".join(ast.get_source_segment(text, each) or "" for each in (*function.decorator_list, function))
    assert "slow" not in "".join(ast.unparse(each) for each in function.decorator_list), "it is in no ordinary run"
    if file.startswith("tests/faults/"):
        assert f'"{point.name}"' in source
    else:
        assert "SIGKILL" in source or "how" in source or ".kill(" in source


def test_names_are_used_once_and_the_page_has_them_all() -> None:
    names = [point.name for point in POINTS]
    assert len(set(names)) == len(names)
    page = (ROOT / "docs" / "faults.md").read_text("utf-8")
    rows = [line.split("|") for line in page.splitlines() if line.startswith("| `")]
    assert [(row[1].strip().strip("`"), row[2].strip(), row[3].strip()) for row in rows] == [
        (point.name, point.process, point.says) for point in POINTS
    ]
