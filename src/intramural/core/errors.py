"""Errors say whose fault it is and what to try.

    IntramuralError
    ├── Misasked            you: the request is wrong
    │   ├── Unauthenticated     you did not say who you are
    │   ├── Missing             there is no such thing (or it is not yours to see)
    │   ├── Conflicting         it clashes with what is there
    │   ├── TooLarge            it is over a stated limit
    │   └── Flawed              what was sent has mistakes in several places (`problems`)
    ├── Refused             policy: you may not
    │   └── Throttled           not so fast (`retry_after_s`)
    │       └── QuotaSpent          a quota has no room for it (`quota`: how it stands)
    ├── NotOffered          this service does not do that
    ├── Unavailable         later (`retry_after_s`)
    ├── Untrusted           they: bytes or a worker failed a check
    └── Broken              the other side failed

Three places catch them: the HTTP doors, the pull runner and the worker supervisor. HTTP numbers exist only in `http/`.
"""

from collections.abc import Mapping
from typing import Any


class IntramuralError(Exception):
    """Base of every error a person may meet.

    `code` is stable and machine-readable (`lower_snake`), `message` says what happened in one sentence,
    `hint` says what to try, `param` names the request field at fault, if one is.
    """

    def __init__(self, code: str, message: str, hint: str = "", *, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.param = param

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip() + f" [{self.code}]"


class Misasked(IntramuralError):
    """The caller's request is wrong; repeating it unchanged will fail again."""


class Unauthenticated(Misasked):
    """Nobody said who they are, or what they said does not hold."""


class Missing(Misasked):
    """There is no such thing, or it is not the caller's to see: the two look alike on purpose."""


class Conflicting(Misasked):
    """The request clashes with the present state (a taken name, an unfinished set-up)."""


class TooLarge(Misasked):
    """The request is over a stated size limit."""


class Flawed(Misasked):
    """What was sent has mistakes in several places. `problems`: each as JSON (`file`, `line`, `code`, `message`)."""

    def __init__(
        self, code: str, message: str, hint: str = "", *, problems: tuple[Mapping[str, Any], ...] = ()
    ) -> None:
        super().__init__(code, message, hint)
        self.problems = problems


class Refused(IntramuralError):
    """Policy says no; `code` is the rule that refused.

    `asked`: the question, in words with which it can be asked again (`action`, `thing`, `workspace`, `purpose`).
    """

    def __init__(
        self,
        code: str,
        message: str,
        hint: str = "",
        *,
        param: str | None = None,
        asked: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(code, message, hint, param=param)
        self.asked = asked


class Throttled(Refused):
    """Policy says not so fast: try again after `retry_after_s` seconds."""

    def __init__(self, code: str, message: str, hint: str = "", *, retry_after_s: float) -> None:
        super().__init__(code, message, hint)
        self.retry_after_s = retry_after_s


class QuotaSpent(Throttled):
    """A quota has no room for it. `quota`: how it stands, as JSON values (`limit`, `remaining`, `renews_ms`, …)."""

    def __init__(
        self, code: str, message: str, hint: str = "", *, retry_after_s: float, quota: Mapping[str, Any]
    ) -> None:
        super().__init__(code, message, hint, retry_after_s=retry_after_s)
        self.quota = quota


class NotOffered(IntramuralError):
    """A known operation that this service has nothing to do with; asking again will not help."""


class Unavailable(IntramuralError):
    """Not now: try again after `retry_after_s` seconds."""

    def __init__(self, code: str, message: str, hint: str = "", *, retry_after_s: float = 1.0) -> None:
        super().__init__(code, message, hint)
        self.retry_after_s = retry_after_s


class Untrusted(IntramuralError):
    """Bytes failed a check (digest, signature, structure): nothing was done with them."""


class Broken(IntramuralError):
    """The other side (a worker, a disk) failed in a way the caller did not cause."""
