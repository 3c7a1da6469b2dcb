"""What the policy answers."""

from dataclasses import dataclass

from intramural.core.errors import Refused


@dataclass(frozen=True, slots=True)
class Decision:
    """Yes, or no with the rule that said so, why, and what to do about it."""

    allowed: bool
    rule: str
    reason: str = ""
    hint: str = ""

    def refusal(self) -> Refused:
        """The error to raise for a no; its code is the rule."""
        return Refused(self.rule, self.reason, self.hint)
