"""`keep_alive`: how long a model stays loaded after a request, and who decides that."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from intramural.core.actor import Actor
from intramural.services import Models

#: Names what was given and has no effect: nothing is passed over in silence.
IGNORED: Final = "X-Intramural-Ignored"


@dataclass(frozen=True, slots=True)
class Keeping:
    """What one request says about it. `seconds`: negative for ever; None: nothing.

    It counts only from somebody who may load and unload the model for everybody; from others it has no effect.
    """

    models: Models
    actor: Actor
    model: str
    seconds: float | None

    @property
    def counts(self) -> bool:
        return self.seconds is not None and self.models.may_keep(self.actor)

    async def after(self) -> None:
        """To be called when the request is over."""
        if self.seconds is not None and self.counts:
            await self.models.keep(self.actor, self.model, self.seconds)

    def headers(self, request_id: str, without_effect: Sequence[str]) -> dict[str, str]:
        """Of the answer to the request."""
        ignored = [*without_effect] + (["keep_alive"] if self.seconds is not None and not self.counts else [])
        return {"X-Request-Id": request_id} | ({IGNORED: ", ".join(ignored)} if ignored else {})
