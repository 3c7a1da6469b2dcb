"""An entry on a kernel that tells nobody of refused calls: as before Linux 5.0."""

from tests.sandbox.told_entries import tries

from intramural.sandbox import bpf

bpf.can_tell = lambda: False

__all__ = ["tries"]
