"""Checks that every dialect makes of what a client said, and the errors that name the place."""

from typing import TypeVar

from intramural.core.errors import Misasked

_Number = TypeVar("_Number", int, float)


def bad(param: str, message: str, hint: str) -> Misasked:
    """The error for a value that cannot be."""
    return Misasked("bad_parameter", message, hint, param=param)


def within(name: str, value: _Number | None, low: float, high: float) -> _Number | None:
    """`value`, of which None says that nothing was said. Raises Misasked where it is out of bounds."""
    if value is not None and not low <= value <= high:  # also refuses NaN
        raise bad(name, f"`{name}` is {value}.", f"It must be from {low} to {high}.")
    return value
