"""Whatever is changed of what was handed out is found, and of a log the first wrong entry is named."""

import base64
import io
import itertools
import json
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.chance import tries
from tests.verifier.conftest import TEXTS, HandedOut

from intramural.audit import canonical
from intramural.audit.cosignature import Cosigner
from intramural.audit.keys import second_signer
from intramural.audit.merkle import Frontier, leaf_hash

LINES = st.integers(0, 10**6)


def trust(verifier: ModuleType, handed: HandedOut) -> Any:
    return verifier.Trust(tuple(verifier.Key.parse(each) for each in handed.keys))


def verdict(verifier: ModuleType, handed: HandedOut, export: bytes, *held: int) -> Any:
    """What is wrong with an export; None: nothing is."""
    notes = [verifier.Checkpoint.parse(verifier.parse_note(handed.notes[size]).text) for size in held]
    kept = [verifier.Held(each.size, each.root, "what was held") for each in notes]
    try:
        verifier.check_export(io.BytesIO(export), trust(verifier, handed), kept, verifier.Report())
    except verifier.Wrong as error:
        return error
    return None


def places(lines: list[bytes]) -> list[int]:
    """For each line of an export: how many entries stand before it."""
    counts = itertools.accumulate((line.startswith(b'{"leaf"') for line in lines), initial=0)
    return list(counts)[:-1]


def names(wrong: Any, position: int) -> bool:
    """Whether `position` is what it names, or in the range that it names."""
    first, before = wrong.first_wrong, wrong.before
    return bool(first is not None and first <= position < (first + 1 if before is None else before))


def test_the_originals_hold(verifier: ModuleType, handed: HandedOut) -> None:
    assert verdict(verifier, handed, handed.export, *handed.notes) is None
    assert verdict(verifier, handed, handed.part) is None


@settings(max_examples=tries(150))
@given(at=LINES, bit=st.integers(0, 7), part=st.booleans())
def test_no_bit_of_an_export_can_be_flipped(
    verifier: ModuleType, handed: HandedOut, at: int, bit: int, part: bool
) -> None:
    original = handed.part if part else handed.export
    at %= len(original)
    changed = original[:at] + bytes([original[at] ^ 1 << bit]) + original[at + 1 :]
    wrong = verdict(verifier, handed, changed)
    assert wrong is not None and wrong.first_wrong is not None
    line = original.count(b"\n", 0, at)
    lines = original.splitlines()
    if lines[line].startswith(b'{"leaf"') and original[at : at + 1] != b"\n":
        start = json.loads(lines[0])["start"]
        assert (wrong.first_wrong, wrong.before) == (start + places(lines)[line], None)


@settings(max_examples=tries(80))
@given(at=LINES)
def test_no_export_can_be_cut_off(verifier: ModuleType, handed: HandedOut, at: int) -> None:
    cut = handed.export[: at % len(handed.export)]
    wrong = verdict(verifier, handed, cut)
    assert wrong is not None and wrong.first_wrong is not None
    assert wrong.first_wrong <= max(0, cut.count(b'{"leaf"'))


def dropped(lines: list[bytes], at: int, _to: int) -> list[bytes]:
    return lines[:at] + lines[at + 1 :]


def repeated(lines: list[bytes], at: int, _to: int) -> list[bytes]:
    return lines[: at + 1] + lines[at:]


def swapped(lines: list[bytes], at: int, to: int) -> list[bytes]:
    changed = list(lines)
    changed[at], changed[to] = changed[to], changed[at]
    return changed


def moved(lines: list[bytes], at: int, to: int) -> list[bytes]:
    changed = list(lines)
    changed.insert(to, changed.pop(at))
    return changed


@settings(max_examples=tries(100))
@given(st.sampled_from([dropped, repeated, swapped, moved]), LINES, LINES)
def test_no_line_can_go_or_come_or_move(
    verifier: ModuleType, handed: HandedOut, change: Callable[[list[bytes], int, int], list[bytes]], at: int, to: int
) -> None:
    lines = handed.export.splitlines(keepends=True)
    at, to = 1 + at % (len(lines) - 1), 1 + to % (len(lines) - 1)
    changed = change(lines, at, to)
    wrong = verdict(verifier, handed, b"".join(changed))
    if changed == lines:
        return
    if change is dropped and lines[at].startswith(b'{"checkpoint"') and at < len(lines) - 1:
        assert wrong is None  # it only narrowed down where; the entries before it are under the next one
        return
    assert wrong is not None
    entries, others = ([line for line in each if line.startswith(b'{"leaf"')] for each in (lines, changed))
    first = next((n for n, (a, b) in enumerate(zip(entries, [*others, b""], strict=False)) if a != b), len(entries))
    assert wrong.first_wrong <= first  # a checkpoint out of its place may be found before
    if lines[at].startswith(b'{"leaf"') and change is dropped:
        assert wrong.first_wrong == first


@settings(max_examples=tries(60))
@given(at=LINES)
def test_no_entry_of_another_log_fits(verifier: ModuleType, handed: HandedOut, other: HandedOut, at: int) -> None:
    lines, others = (each.export.splitlines(keepends=True) for each in (handed, other))
    entries = [number for number, line in enumerate(lines) if line.startswith(b'{"leaf"')]
    line = entries[at % len(entries)]
    lines[line] = next(each for each in others if b'"position":%d,' % places(lines)[line] in each)
    wrong = verdict(verifier, handed, b"".join(lines))
    assert wrong is not None and names(wrong, places(lines)[line])


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> HandedOut:
    import asyncio

    from tests.verifier.conftest import written

    return asyncio.run(written(tmp_path_factory.mktemp("other")))


@settings(max_examples=tries(60))
@given(at=st.integers(0, 41))
def test_a_record_changed_with_its_hash_lies_in_the_range_that_is_named(
    verifier: ModuleType, handed: HandedOut, at: int
) -> None:
    lines = handed.export.splitlines(keepends=True)
    line = next(n for n, each in enumerate(lines) if b'"position":%d,' % at in each)
    lines[line] = relined(forged(json.loads(lines[line])["record"]))
    wrong = verdict(verifier, handed, b"".join(lines))
    assert wrong is not None and names(wrong, at)


def forged(record: dict[str, Any]) -> bytes:
    return canonical(record | {"outcome": "refused"}).encode()


def relined(record: bytes) -> bytes:
    return b'{"leaf":"%s","record":%s}\n' % (base64.b64encode(leaf_hash(record)), record)


def rewritten(handed: HandedOut, at: int) -> bytes:
    """The whole history again with entry `at` changed, every checkpoint signed anew with the log's own keys."""
    head, *lines = handed.export.splitlines(keepends=True)
    second, _ = second_signer(handed.folder / "secrets", "intramural.local/audit")
    assert isinstance(second, Cosigner)
    signer, tree, out = handed.signer(), Frontier(), [head]
    for line in lines:
        if line.startswith(b'{"leaf"'):
            record = line[64:-2] if f'"position":{at},'.encode() not in line else forged(json.loads(line)["record"])
            tree = tree.extended([leaf_hash(record)])
            out.append(relined(record))
        else:
            note = signer.sign(tree.size, tree.root())
            note += second.line(signer.verifier.checkpoint_of(note), 0)
            out.append(canonical({"checkpoint": note}).encode() + b"\n")
    return b"".join(out)


def test_a_whole_history_signed_anew_with_the_log_s_own_keys_passes_no_older_checkpoint(
    verifier: ModuleType, handed: HandedOut
) -> None:
    for at in (0, 5, 17, 40):
        lie = rewritten(handed, at)
        assert verdict(verifier, handed, lie) is None  # what a log alone cannot show
        for size in handed.notes:
            wrong = verdict(verifier, handed, lie, size)
            if size <= at:
                assert wrong is None
            else:
                assert wrong is not None and names(wrong, at) and "rewritten" in str(wrong)
        wrong = verdict(verifier, handed, lie, *handed.notes)
        assert names(wrong, at)


def test_a_log_that_ends_before_a_held_checkpoint_is_named(verifier: ModuleType, handed: HandedOut) -> None:
    size = sorted(handed.notes)[-2]
    wrong = verdict(verifier, handed, rewritten_to(handed, size), handed.size)
    assert wrong.first_wrong == size


def rewritten_to(handed: HandedOut, size: int) -> bytes:
    head, *lines = handed.export.splitlines(keepends=True)
    note = canonical({"checkpoint": handed.notes[size]}).encode() + b"\n"
    entries = [line for line in lines if line.startswith(b'{"leaf"')][:size]
    return b"".join([canonical(json.loads(head) | {"size": size}).encode() + b"\n", *entries, note])


def refused(verifier: ModuleType, check: Callable[[], object]) -> bool:
    try:
        check()
    except verifier.Wrong:
        return True
    return False


@settings(max_examples=tries(80))
@given(at=LINES, bit=st.integers(0, 7))
@example(at=0, bit=5)
def test_no_bit_of_a_checkpoint_a_proof_or_a_statement_can_be_flipped(
    verifier: ModuleType, handed: HandedOut, at: int, bit: int
) -> None:
    believed, report = trust(verifier, handed), verifier.Report()
    old = handed.notes[14].encode()
    checks: list[tuple[str, Callable[[bytes], object]]] = [
        (handed.notes[14], lambda data: verifier.opened(data, believed, report, "it")),
        (handed.proof, lambda data: verifier.check_proof(data, believed, report)),
        (handed.consistency, lambda data: verifier.check_consistency(data, old, believed, report)),
        (handed.statement, lambda data: verifier.check_statement(data, believed, report, None)),
    ]
    for text, check in checks:
        data = text.encode()
        check(data)
        place = at % len(data)
        changed = data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :]
        assert refused(verifier, lambda changed=changed, check=check: check(changed))
        assert refused(verifier, lambda data=data, check=check, place=place: check(data[:place]))


def spoiled(value: Any, at: int) -> Any:
    """`value` with one leaf of it changed."""
    if isinstance(value, dict) and value:
        key = sorted(value)[at % len(value)]
        return value | {key: spoiled(value[key], at // len(value))}
    if isinstance(value, list) and value:
        index = at % len(value)
        return [*value[:index], spoiled(value[index], at // len(value)), *value[index + 1 :]]
    if isinstance(value, str) and value:
        index = at % len(value)
        return value[:index] + ("A" if value[index] != "A" else "B") + value[index + 1 :]
    return 1 if value != 1 else 2


@settings(max_examples=tries(150))
@given(at=st.integers(0, 10**12))
def test_no_value_of_a_receipt_can_be_changed(verifier: ModuleType, handed: HandedOut, at: int) -> None:
    texts = {name: text.encode() for name, text in TEXTS.items()}
    believed = trust(verifier, handed)

    def check(receipt: Any) -> None:
        verifier.check_receipt(json.dumps(receipt).encode(), believed, verifier.Report(), texts)

    check(handed.receipt)
    assert refused(verifier, lambda: check(spoiled(handed.receipt, at)))


@pytest.mark.parametrize("name", ["id", "statement", "signature", "entries", "checkpoint", "public_key", "salts"])
def test_nothing_can_be_left_out_of_a_receipt(verifier: ModuleType, handed: HandedOut, name: str) -> None:
    texts = {"prompt": TEXTS["prompt"].encode()}
    less = {key: value for key, value in handed.receipt.items() if key != name}
    for lie in (less, handed.receipt | {name: None}, handed.receipt | {"more": 1}):
        data = json.dumps(lie).encode()
        believed = trust(verifier, handed)
        assert refused(
            verifier, lambda data=data, b=believed: verifier.check_receipt(data, b, verifier.Report(), texts)
        )


def test_entries_of_a_receipt_cannot_be_exchanged(verifier: ModuleType, handed: HandedOut) -> None:
    first, last = handed.receipt["entries"]
    for entries in ([last, first], [first], [first, first], [first, last, last]):
        data = json.dumps(handed.receipt | {"entries": entries}).encode()
        believed = trust(verifier, handed)
        assert refused(verifier, lambda data=data, b=believed: verifier.check_receipt(data, b, verifier.Report(), {}))


def test_the_second_signature_is_missed_where_its_key_was_given(verifier: ModuleType, handed: HandedOut) -> None:
    plain = handed.signer().sign(14, base64.b64decode(handed.notes[14].split("\n")[2]))
    believed = trust(verifier, handed)
    assert verifier.opened(plain, verifier.Trust(believed.log[:1]), verifier.Report(), "it").size == 14
    with pytest.raises(verifier.Wrong, match="not signed with the key ML-DSA-44"):
        verifier.opened(plain, believed, verifier.Report(), "it")
