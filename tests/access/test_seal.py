"""What a person's program keeps for the service opens for that person alone, and only unchanged."""

import base64
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intramural.access.seal import Seal
from intramural.access.secret import Pepper
from intramural.core.clock import SystemClock
from intramural.core.errors import Misasked

SEAL = Seal(Pepper(bytes(32)), SystemClock())


@given(st.text())
def test_it_opens_again(text: str) -> None:
    sealed = SEAL.close("person_ada", text)
    assert SEAL.open("person_ada", sealed) == text
    assert len(text) < 4 or text not in sealed
    assert sealed != SEAL.close("person_ada", text)


def test_not_for_somebody_else_not_elsewhere_and_not_changed(tmp_path: Path) -> None:
    sealed = SEAL.close("person_ada", "I think.")
    elsewhere = Seal(Pepper.open(tmp_path / "secrets", SystemClock()), SystemClock())
    raw = bytearray(base64.urlsafe_b64decode(sealed))
    raw[-1] ^= 1
    changed = base64.urlsafe_b64encode(bytes(raw)).decode()
    for seal, person, text in (
        (SEAL, "person_bob", sealed), (elsewhere, "person_ada", sealed), (SEAL, "person_ada", changed),
        (SEAL, "person_ada", ""), (SEAL, "person_ada", "nonsense"), (SEAL, "person_ada", "é"),
    ):  # fmt: skip
        with pytest.raises(Misasked) as caught:
            seal.open(person, text)
        assert caught.value.code == "bad_encrypted_content"
