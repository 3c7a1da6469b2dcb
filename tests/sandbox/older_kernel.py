"""An entry's module that makes its child take the kernel for one whose Landlock is of the ABI `ABI` in its environment.

The child asks for the ABI after it has imported its entry; the rules it then makes are exactly an older kernel's.
"""

import os

from tests.sandbox.attempts import report, try_all

from intramural.sandbox import landlock

__all__ = ["report", "try_all"]

_OLDER = int(os.environ["ABI"])


def _abi() -> int:
    return _OLDER


landlock.abi = _abi
