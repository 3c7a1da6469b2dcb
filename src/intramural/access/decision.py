"""What the policy answers."""

from collections.abc import Mapping

import msgspec

from intramural.core.errors import Refused


class Decision(msgspec.Struct, frozen=True):
    """Yes, or no with the rule that said so, why, and what to do about it."""

    allowed: bool
    rule: str
    reason: str = ""
    hint: str = ""

    def refusal(self, asked: Mapping[str, str] | None = None) -> Refused:
        """The error to raise for a no; its code is the rule. `asked`: the question, for `Refused`."""
        return Refused(self.rule, self.reason, self.hint, asked=asked)
