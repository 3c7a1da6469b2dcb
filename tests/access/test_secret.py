"""Secrets: their form, their hashes, the pepper's file."""

import string
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intramural.access.secret import Pepper, key_hint, looks_like_key, new_key, new_token, same
from intramural.core.clock import SystemClock
from intramural.core.errors import Broken

CLOCK = SystemClock()


def test_a_key_has_its_form_and_a_typo_is_seen():
    key = new_key(CLOCK)
    assert key.startswith("im-")
    assert len(key) == 52
    assert set(key[3:]) <= set(string.ascii_letters + string.digits)
    assert looks_like_key(key)
    for place in range(3, len(key)):
        typo = key[:place] + ("a" if key[place] != "a" else "b") + key[place + 1 :]
        assert not looks_like_key(typo)
    assert not looks_like_key(key[:-1])
    assert not looks_like_key(key + " ")
    assert key_hint(key) == key[:7] + "…"


@given(st.text(max_size=80))
def test_no_text_upsets_the_check_or_the_hash(text):
    assert not looks_like_key(text)
    digest = Pepper(b"k" * 32).digest("key", text)
    assert len(digest) == (32 if text.isascii() else 0)


def test_keys_and_tokens_are_all_different():
    assert len({new_key(CLOCK) for _ in range(100)} | {new_token(CLOCK) for _ in range(100)}) == 200


def test_a_hash_depends_on_pepper_purpose_and_secret():
    one, other = Pepper(b"1" * 32), Pepper(b"2" * 32)
    digests = {one.digest("key", "x"), one.digest("session", "x"), one.digest("key", "y"), other.digest("key", "x")}
    assert len(digests) == 4


def test_the_pepper_is_made_once_and_only_for_us(tmp_path):
    secrets_dir = tmp_path / "secrets"
    first = Pepper.open(secrets_dir, CLOCK)
    file = secrets_dir / "key-pepper"
    assert file.stat().st_mode & 0o777 == 0o600
    assert secrets_dir.stat().st_mode & 0o777 == 0o700
    assert len(file.read_bytes()) == 32
    assert [each.name for each in secrets_dir.iterdir()] == ["key-pepper"]
    assert Pepper.open(secrets_dir, CLOCK).digest("key", "x") == first.digest("key", "x")


def test_makers_at_the_same_time_agree_on_one_pepper(tmp_path):
    digests: list[bytes] = []
    gate = threading.Barrier(8)

    def start() -> None:
        gate.wait()
        digests.append(Pepper.open(tmp_path / "secrets", CLOCK).digest("key", "x"))

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(digests) == 8
    assert len(set(digests)) == 1


def test_a_pepper_open_to_others_or_cut_short_is_not_used(tmp_path):
    Pepper.open(tmp_path, CLOCK)
    file = tmp_path / "key-pepper"
    file.chmod(0o644)
    with pytest.raises(Broken, match="chmod 600"):
        Pepper.open(tmp_path, CLOCK)
    file.chmod(0o600)
    file.write_bytes(b"short")
    with pytest.raises(Broken) as caught:
        Pepper.open(tmp_path, CLOCK)
    assert caught.value.code == "secret_damaged"


def test_comparing_takes_any_text():
    assert same("abc", "abc")
    assert not same("abc", "abd")
    assert not same("abc", "äö\ud800")
