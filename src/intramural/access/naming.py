"""What groups, keys and workspaces may be called."""

from intramural.core.errors import Misasked

MAX_NAME_CHARS = 100


def checked_name(code: str, what: str, name: str) -> str:
    """A name as it is kept. Control characters and those that turn the direction of writing are none of it.

    Raises Misasked with `code`, about a `what`.
    """
    name = name.strip()
    if not 0 < len(name) <= MAX_NAME_CHARS or not name.isprintable():
        message = f"A {what} needs a name of 1 to {MAX_NAME_CHARS} printable characters."
        raise Misasked(code, message, "Write it without control characters.", param="name")
    return name
