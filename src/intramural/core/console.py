"""Where the house of a data directory answers the command line: a private Unix socket in it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CONSOLE = "console.sock"


@contextmanager
def console_address(data_dir: Path) -> Iterator[str]:
    """The socket's address. It leads through a descriptor of the data directory: a socket address holds no more than
    107 bytes, and a data directory's path may be longer. Raises FileNotFoundError where there is none."""
    directory = os.open(data_dir, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{CONSOLE}"
    finally:
        os.close(directory)
