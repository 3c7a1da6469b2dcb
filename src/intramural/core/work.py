"""Classes of work: for whom something is done. Turns are taken by them, and the numbers are told apart by them."""

from enum import IntEnum


class Work(IntEnum):
    """A lesser one goes first: those named in `serving.first`, anybody who waits, what nobody waits for."""

    FIRST = 0
    INTERACTIVE = 1
    BATCH = 2

    @property
    def label(self) -> str:
        """Its name in metrics and spans."""
        return self.name.lower()
