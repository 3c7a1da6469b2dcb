"""RFC 9162 hashing and proofs: published vectors, then properties against the RFC's recursive definition."""

import hashlib
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intramural.audit.merkle import (
    EMPTY_ROOT,
    Frontier,
    Range,
    consistency_ranges,
    inclusion_proof,
    inclusion_ranges,
    leaf_hash,
    node_hash,
    verify_consistency,
    verify_inclusion,
)

# The vectors of the Certificate Transparency reference implementations.
LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
INCLUSION = {
    (0, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (5, 8): [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 3): ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
    (1, 5): [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}
CONSISTENCY = {
    (1, 8): INCLUSION[(0, 8)],
    (6, 8): [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 5): [
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}


def naive_root(records: Sequence[bytes]) -> bytes:
    """MTH of RFC 9162 section 2.1.1, word for word."""
    if not records:
        return hashlib.sha256(b"").digest()
    if len(records) == 1:
        return hashlib.sha256(b"\x00" + records[0]).digest()
    k = 1
    while k * 2 < len(records):
        k *= 2
    return hashlib.sha256(b"\x01" + naive_root(records[:k]) + naive_root(records[k:])).digest()


def naive_path(index: int, records: Sequence[bytes]) -> list[bytes]:
    """PATH of section 2.1.3.1."""
    if len(records) == 1:
        return []
    k = 1
    while k * 2 < len(records):
        k *= 2
    if index < k:
        return [*naive_path(index, records[:k]), naive_root(records[k:])]
    return [*naive_path(index - k, records[k:]), naive_root(records[:k])]


def naive_subproof(first: int, records: Sequence[bytes], whole: bool) -> list[bytes]:
    """SUBPROOF of section 2.1.4.1."""
    if first == len(records):
        return [] if whole else [naive_root(records)]
    k = 1
    while k * 2 < len(records):
        k *= 2
    if first <= k:
        return [*naive_subproof(first, records[:k], whole), naive_root(records[k:])]
    return [*naive_subproof(first - k, records[k:], False), naive_root(records[:k])]


def grown(records: Sequence[bytes]) -> Frontier:
    return Frontier().extended(map(leaf_hash, records))


def hashes(ranges: Sequence[Range], records: Sequence[bytes]) -> list[bytes]:
    return [grown(records[start:end]).root() for start, end in ranges]


def numbered(size: int) -> list[bytes]:
    return [str(number).encode() for number in range(size)]


def test_published_roots() -> None:
    assert Frontier().root() == EMPTY_ROOT == hashlib.sha256(b"").digest()
    assert [grown(LEAVES[: size + 1]).root().hex() for size in range(8)] == ROOTS


@pytest.mark.parametrize(("index", "size"), INCLUSION)
def test_published_inclusion_proofs(index: int, size: int) -> None:
    assert [each.hex() for each in hashes(inclusion_ranges(index, size), LEAVES)] == INCLUSION[(index, size)]


@pytest.mark.parametrize(("first", "second"), CONSISTENCY)
def test_published_consistency_proofs(first: int, second: int) -> None:
    assert [each.hex() for each in hashes(consistency_ranges(first, second), LEAVES)] == CONSISTENCY[(first, second)]


def test_all_small_trees_agree_with_the_definition() -> None:
    for size in range(1, 20):
        records = numbered(size)
        root = naive_root(records)
        assert grown(records).root() == root
        for index in range(size):
            proof = hashes(inclusion_ranges(index, size), records)
            assert proof == naive_path(index, records)
            assert verify_inclusion(leaf_hash(records[index]), index, size, proof, root)
        for first in range(1, size + 1):
            proof = hashes(consistency_ranges(first, size), records)
            assert proof == naive_subproof(first, records, True)
            assert verify_consistency(first, naive_root(records[:first]), size, root, proof)


@given(st.lists(st.binary(max_size=8), max_size=300), st.lists(st.binary(max_size=8), max_size=50))
def test_growing_in_parts_is_growing_at_once(some: list[bytes], more: list[bytes]) -> None:
    part = grown(some)
    stored = Frontier.from_bytes(part.size, part.to_bytes())
    assert stored == part
    assert stored.extended(map(leaf_hash, more)) == grown(some + more)
    assert grown(some).root() == naive_root(some)
    assert [naive_root(some[start:end]) for start, end in part.ranges()] == list(part.peaks)


@given(st.data())
def test_a_wrong_inclusion_proof_is_refused(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 70))
    index = data.draw(st.integers(0, size - 1))
    records = numbered(size)
    leaf, root = leaf_hash(records[index]), naive_root(records)
    proof = hashes(inclusion_ranges(index, size), records)
    other = data.draw(st.integers(-1, size).filter(lambda each: each != index))
    assert not verify_inclusion(leaf, other, size, proof, root)
    assert not verify_inclusion(leaf_hash(b"other"), index, size, proof, root)
    assert not verify_inclusion(leaf, index, size, [*proof, root], root)
    if proof:
        at = data.draw(st.integers(0, len(proof) - 1))
        assert not verify_inclusion(leaf, index, size, proof[:at] + proof[at + 1 :], root)
        assert not verify_inclusion(leaf, index, size, [*proof[:at], bytes(32), *proof[at + 1 :]], root)


def test_a_proof_needs_only_the_leaves_since_the_last_known_tree() -> None:
    for size in range(1, 34):
        records = numbered(size)
        leaves = [leaf_hash(record) for record in records]
        for index in range(size):
            wanted = hashes(inclusion_ranges(index, size), records)
            for start in range(index + 1):
                before = Frontier().extended(leaves[:start])
                assert inclusion_proof(index, leaves[start:], before, size) == wanted
    with pytest.raises(ValueError, match="cannot be proved"):
        inclusion_proof(1, leaves[2:], Frontier().extended(leaves[:2]), size)
    with pytest.raises(ValueError, match="cannot be proved"):
        inclusion_proof(5, leaves[2:-1], Frontier().extended(leaves[:2]), size)


@given(st.data())
def test_a_wrong_consistency_proof_is_refused(data: st.DataObject) -> None:
    second = data.draw(st.integers(2, 70))
    first = data.draw(st.integers(1, second - 1))
    records = numbered(second)
    old, new = naive_root(records[:first]), naive_root(records)
    proof = hashes(consistency_ranges(first, second), records)
    at = data.draw(st.integers(0, len(proof) - 1))
    rewritten = naive_root([b"rewritten", *records[1:first]])
    assert verify_consistency(first, old, second, new, proof)
    assert not verify_consistency(first, rewritten, second, new, proof)
    assert not verify_consistency(first, old, second, bytes(32), proof)
    assert not verify_consistency(first, old, second, new, proof[:at] + proof[at + 1 :])
    assert not verify_consistency(first, old, second, new, [*proof[:at], bytes(32), *proof[at + 1 :]])
    assert not verify_consistency(first, old, second, new, [*proof, new])


def test_what_cannot_be_proved() -> None:
    for index, size in ((0, 0), (-1, 3), (3, 3)):
        assert not verify_inclusion(bytes(32), index, size, [], bytes(32))
        with pytest.raises(ValueError, match="no leaf"):
            inclusion_ranges(index, size)
    for first, second in ((0, 3), (4, 3), (-1, 3)):
        assert not verify_consistency(first, bytes(32), second, bytes(32), [])
        with pytest.raises(ValueError, match="not the beginning"):
            consistency_ranges(first, second)
    assert verify_consistency(3, b"r", 3, b"r", [])
    assert not verify_consistency(3, b"r", 3, b"r", [b"r"])
    with pytest.raises(ValueError, match="peaks"):
        Frontier.from_bytes(3, bytes(32))


def test_leaves_and_nodes_are_told_apart() -> None:
    left, right = leaf_hash(b"a"), leaf_hash(b"b")
    assert leaf_hash(left + right) != node_hash(left, right)
