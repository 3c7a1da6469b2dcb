"""Hearing of what confined children of this process are refused."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from intramural.sandbox.hearing import Denied
from intramural.sandbox.starting import on_denied


@contextmanager
def heard() -> Iterator[list[Denied]]:
    """All of it, as it comes."""
    found: list[Denied] = []
    on_denied(found.append)
    try:
        yield found
    finally:
        on_denied(None)


@pytest.fixture(autouse=True)
def nothing_is_told() -> Iterator[None]:
    """Healthy children, whatever is done with them, are refused nothing that is told: else an alarm would be worth
    nothing. For directories of tests with real engines and parsers."""
    with heard() as found:
        yield
    assert not found, found
