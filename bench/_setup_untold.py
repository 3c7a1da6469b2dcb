"""The same where nobody is told of what is refused: one filter, no listener."""

from bench._setup import report
from intramural.sandbox import bpf

bpf.can_tell = lambda: False

__all__ = ["report"]
