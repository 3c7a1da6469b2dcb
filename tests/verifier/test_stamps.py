"""Time stamps of a real authority (`openssl ts`): both readers believe the same ones."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from cryptography import x509
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.chance import tries
from tests.verifier.authority import Authority

from intramural.audit import stamps
from intramural.core.errors import Misasked, Untrusted

DATA = b"a checkpoint\n"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tsa") / "authority")


@pytest.fixture(scope="module")
def answered(authority: Authority) -> tuple[object, bytes]:
    request = stamps.request_for(DATA)
    return request, authority.reply(request.as_bytes())


def roots(authority: Authority) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(authority.root.read_bytes())


def test_both_say_when(verifier: ModuleType, authority: Authority, answered: tuple[object, bytes]) -> None:
    request, answer = answered
    when = verifier.check_stamp(answer, DATA, roots(authority))
    assert stamps.checked(request, answer, DATA, authority.root.read_bytes()) == when  # type: ignore[arg-type]


@settings(max_examples=tries(100))
@given(at=st.integers(0, 10**6), bit=st.integers(0, 7))
def test_no_bit_can_be_flipped(
    verifier: ModuleType, authority: Authority, answered: tuple[object, bytes], at: int, bit: int
) -> None:
    """But where certificates stand that nobody asks: what holds still says the same time of the same data."""
    answer = answered[1]
    when = verifier.check_stamp(answer, DATA, roots(authority))
    at %= len(answer)
    changed = answer[:at] + bytes([answer[at] ^ 1 << bit]) + answer[at + 1 :]
    try:
        assert verifier.check_stamp(changed, DATA, roots(authority)) == when
    except verifier.Wrong:
        return


@pytest.mark.parametrize(
    "lie",
    [
        lambda answer: answer[:-1],
        lambda answer: answer[: len(answer) // 2],
        lambda answer: answer.replace(b"20", b"19", 1),
        lambda answer: answer.replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x03"),  # certificates of no version
        lambda _: b"",
        lambda _: b"\x30\x03\x02\x01\x02",
    ],
)
def test_what_is_cut_or_changed_is_refused_by_both(
    verifier: ModuleType, authority: Authority, answered: tuple[object, bytes], lie: Callable[[bytes], bytes]
) -> None:
    request, answer = answered
    for data, given_ in ((lie(answer), DATA), (answer, DATA + b"x")):
        with pytest.raises(verifier.Wrong):
            verifier.check_stamp(data, given_, roots(authority))
        with pytest.raises(Untrusted) as refusal:
            stamps.checked(request, data, given_, authority.root.read_bytes())  # type: ignore[arg-type]
        assert refusal.value.code == "stamp_wrong"


def test_an_answer_to_another_request_is_refused(authority: Authority, answered: tuple[object, bytes]) -> None:
    with pytest.raises(Untrusted):
        stamps.checked(stamps.request_for(DATA), answered[1], DATA, authority.root.read_bytes())


def test_another_root_is_not_believed(verifier: ModuleType, answered: tuple[object, bytes], tmp_path: Path) -> None:
    other = Authority(tmp_path / "other")
    with pytest.raises(verifier.Wrong, match="Nobody whom you named"):
        verifier.check_stamp(answered[1], DATA, roots(other))
    with pytest.raises(Untrusted):
        stamps.checked(answered[0], answered[1], DATA, other.root.read_bytes())  # type: ignore[arg-type]
    with pytest.raises(Misasked):
        stamps.checked(answered[0], answered[1], DATA, b"none")  # type: ignore[arg-type]
