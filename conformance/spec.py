"""The shape of a published specification, whoever it was read from."""

from dataclasses import dataclass, field
from typing import Any

#: Where a field travels.
IN_BODY, IN_QUERY, IN_PATH = "body", "query", "path"


@dataclass(frozen=True, slots=True)
class Field:
    """A parameter of an operation. `type` is its annotation, with client-side markers taken off."""

    name: str
    type: Any
    where: str = IN_BODY
    required: bool = False


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing the client can ask for. `group` is the client's own name of it (`chat.completions.create`).

    `answer` is the type of a whole answer (None: no body), `event` that of one event of its stream.
    """

    group: str
    method: str
    path: str
    fields: tuple[Field, ...] = ()
    answer: Any = None
    event: Any = None
    paged: bool = False
    multipart: bool = field(default=False)

    @property
    def key(self) -> str:
        return f"{self.method} {self.path}"

    def named(self, name: str) -> Field | None:
        return next((each for each in self.fields if each.name == name), None)
