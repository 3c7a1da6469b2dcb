"""A setting that is none does not pass in silence: who misspells one would think that it holds."""

from pathlib import Path

import pytest

from intramural.core.config import SECTIONS, load
from intramural.core.errors import Misasked


@pytest.mark.parametrize("variable", ["INTRAMURAL_EGRESS_MOED", "INTRAMURAL_SERVER_", "INTRAMURAL_BREAK_GLASS_X"])
def test_a_variable_that_was_meant_to_be_a_setting_is_refused(tmp_path: Path, variable: str) -> None:
    with pytest.raises(Misasked, match=variable) as refused:
        load({variable: "sealed"}, data_dir=tmp_path)
    assert refused.value.code == "bad_setting"


def test_the_refusal_names_those_that_there_are(tmp_path: Path) -> None:
    with pytest.raises(Misasked) as refused:
        load({"INTRAMURAL_SERVER_PROT": "1"}, data_dir=tmp_path)
    assert "INTRAMURAL_SERVER_PORT" in refused.value.hint


def test_other_variables_are_nobodys_business(tmp_path: Path) -> None:
    others = {"INTRAMURAL_API_KEY": "im-1", "INTRAMURAL_LAB_KEY": "x", "INTRAMURAL": "", "SERVER_PROT": "1"}
    assert load({**others, "INTRAMURAL_SERVER_PORT": "9"}, data_dir=tmp_path).server.port == 9


def test_no_section_begins_like_another() -> None:
    starts = [f"{section}_" for section in SECTIONS]
    assert not [(one, other) for one in starts for other in starts if one != other and one.startswith(other)]
