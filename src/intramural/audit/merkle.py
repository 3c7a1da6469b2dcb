"""Merkle tree hashing of RFC 9162 section 2.1 (the same as RFC 6962): roots, proofs and their verification. Pure.

A tree of n leaves is described by its leaves' hashes. Appending needs only the `Frontier`: the roots of the perfect
subtrees that make up the tree, at most 64 hashes. Proofs are planned as ranges of leaves; whoever holds the leaves
turns each range into its root.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

HASH_BYTES = 32
#: The root of the tree without leaves.
EMPTY_ROOT = hashlib.sha256(b"").digest()

#: Leaves `start` (included) to `end` (excluded).
Range = tuple[int, int]


def leaf_hash(record: bytes) -> bytes:
    """SHA-256(0x00 ‖ record)."""
    return hashlib.sha256(b"\x00" + record).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 ‖ left ‖ right)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


@dataclass(frozen=True, slots=True)
class Frontier:
    """A tree of `size` leaves, by the roots of its perfect subtrees: `peaks`, largest first, one per 1-bit of size."""

    size: int = 0
    peaks: tuple[bytes, ...] = ()

    def extended(self, leaves: Iterable[bytes]) -> "Frontier":
        """The tree with more leaves (their hashes, in order) appended."""
        size, peaks = self.size, list(self.peaks)
        for leaf in leaves:
            below = size
            while below & 1:
                leaf = node_hash(peaks.pop(), leaf)
                below >>= 1
            peaks.append(leaf)
            size += 1
        return Frontier(size, tuple(peaks))

    def root(self) -> bytes:
        """The root of the whole tree."""
        if not self.peaks:
            return EMPTY_ROOT
        root = self.peaks[-1]
        for peak in reversed(self.peaks[:-1]):
            root = node_hash(peak, root)
        return root

    def ranges(self) -> list[Range]:
        """Which leaves each peak stands for."""
        found, start = [], 0
        for bit in range(self.size.bit_length() - 1, -1, -1):
            if self.size >> bit & 1:
                found.append((start, start + (1 << bit)))
                start += 1 << bit
        return found

    def to_bytes(self) -> bytes:
        """The peaks, one after the other."""
        return b"".join(self.peaks)

    @classmethod
    def from_bytes(cls, size: int, data: bytes) -> "Frontier":
        """The reverse of `to_bytes`. Raises ValueError where `data` is not one hash for each 1-bit of `size`."""
        if size < 0 or len(data) != HASH_BYTES * size.bit_count():
            raise ValueError(f"a tree of {size} leaves has {size.bit_count()} peaks, not {len(data)} bytes of them")
        return cls(size, tuple(data[at : at + HASH_BYTES] for at in range(0, len(data), HASH_BYTES)))


def inclusion_ranges(index: int, size: int) -> list[Range]:
    """The ranges whose roots prove that leaf `index` is in the tree of `size` leaves (RFC 9162 section 2.1.3.1)."""
    if not 0 <= index < size:
        raise ValueError(f"there is no leaf {index} in a tree of {size}")
    found: list[Range] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            found.append((middle, end))
            end = middle
        else:
            found.append((start, middle))
            start = middle
    return found[::-1]


def inclusion_proof(index: int, leaves: Sequence[bytes], before: Frontier, size: int) -> list[bytes]:
    """The proof that leaf `index` is in the tree of `size` leaves, made from the leaves after `before` alone.

    What lies left of a leaf is proved by the peaks of the tree that ended before it; so only `before` (which ends at or
    before it) and the `leaves` from there to `size` are needed, however long the log is.
    """
    start = before.size
    if not start <= index < size or len(leaves) != size - start:
        raise ValueError(f"leaf {index} of {size} cannot be proved from {len(leaves)} leaves after {start}")
    left = before.extended(leaves[: index - start])
    peaks = dict(zip(left.ranges(), left.peaks, strict=True))
    found = []
    for first, end in inclusion_ranges(index, size):
        if (known := peaks.get((first, end))) is not None:
            found.append(known)
        else:
            found.append(Frontier().extended(leaves[first - start : end - start]).root())
    return found


def consistency_ranges(first: int, second: int) -> list[Range]:
    """The ranges whose roots prove that the tree of `first` leaves is the beginning of that of `second` (2.1.4.1)."""
    if not 0 < first <= second:
        raise ValueError(f"a tree of {first} leaves is not the beginning of one of {second}")
    found: list[Range] = []
    start, end, whole = 0, second, True
    while first != end:
        middle = start + _split(end - start)
        if first <= middle:
            found.append((middle, end))
            end = middle
        else:
            found.append((start, middle))
            start, whole = middle, False
    if not whole:
        found.append((start, end))
    return found[::-1]


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Whether `proof` shows that `leaf` (a leaf hash) is number `index` of the `size` leaves under `root` (2.1.3.2)."""
    if not 0 <= index < size:
        return False
    at, last, found = index, size - 1, leaf
    for hash_ in proof:
        if last == 0:
            return False
        if at & 1 or at == last:
            found = node_hash(hash_, found)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            found = node_hash(found, hash_)
        at, last = at >> 1, last >> 1
    return last == 0 and found == root


def verify_consistency(first: int, first_root: bytes, second: int, second_root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether `proof` shows that the tree under `first_root` is the beginning of that under `second_root` (2.1.4.2)."""
    if not 0 < first <= second:
        return False
    if first == second:
        return not proof and first_root == second_root
    path = list(proof)
    if first & (first - 1) == 0:
        path.insert(0, first_root)
    if not path:
        return False
    at, last = first - 1, second - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    old = new = path[0]
    for hash_ in path[1:]:
        if last == 0:
            return False
        if at & 1 or at == last:
            old, new = node_hash(hash_, old), node_hash(hash_, new)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            new = node_hash(new, hash_)
        at, last = at >> 1, last >> 1
    return last == 0 and old == first_root and new == second_root


def _split(size: int) -> int:
    """The largest power of two smaller than `size` (which is at least 2)."""
    return 1 << (size - 1).bit_length() - 1
