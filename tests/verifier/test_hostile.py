"""What comes from elsewhere may be anything: the answer is a verdict, within bounded time and memory, never a fault."""

import contextlib
import io
import json
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.chance import tries
from tests.verifier.conftest import HandedOut
from tests.verifier.standing import FILE, Standing
from tests.verifier.test_changes import trust

NAMES = (
    "object", "id", "statement", "signature", "entries", "checkpoint", "public_key", "salts", "position", "record",
    "proof", "leaf_hash", "mediaType", "dsseEnvelope", "verificationMaterial", "signatures", "payload", "payloadType",
    "export", "origin", "size", "start", "frontier", "leaf",
)  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(NAMES) | st.text(), inner),
    max_leaves=20,
)


def checks(verifier: ModuleType, handed: HandedOut) -> list[Callable[[bytes], object]]:
    believed, report = trust(verifier, handed), verifier.Report()
    return [
        lambda data: verifier.check_export(io.BytesIO(data), believed, [], report),
        lambda data: verifier.opened(data, believed, report, "it"),
        lambda data: verifier.check_proof(data, believed, report),
        lambda data: verifier.check_consistency(data, handed.notes[14].encode(), believed, report),
        lambda data: verifier.check_receipt(data, believed, report, {"prompt": b"x"}),
        lambda data: verifier.check_statement(data, believed, report, None),
        lambda data: verifier.check_model(data, [], [], report),
        lambda data: verifier.check_stamp(data, b"x", []),
    ]


def judged(verifier: ModuleType, handed: HandedOut, data: bytes) -> None:
    """Every reader of it says that it is wrong, and nothing else happens."""
    for check in checks(verifier, handed):
        with contextlib.suppress(verifier.Wrong):
            check(data)
            raise AssertionError("it was believed")


@settings(max_examples=tries(100))
@given(st.binary(max_size=400))
def test_any_bytes(verifier: ModuleType, handed: HandedOut, data: bytes) -> None:
    judged(verifier, handed, data)


@settings(max_examples=tries(100))
@given(JSON)
def test_any_json(verifier: ModuleType, handed: HandedOut, value: object) -> None:
    judged(verifier, handed, json.dumps(value).encode())


@pytest.mark.parametrize("value", ["1e999", "-1e999", "[" * 900 + "]" * 900, '"\\ud800"', "1" * 4_301])
def test_values_that_json_has_and_canonical_json_has_not(verifier: ModuleType, handed: HandedOut, value: str) -> None:
    statement = f'{{"v":{value}}}'
    note = handed.signer().sign_statement("attestation", statement)
    whole = f'{{"object":"attestation","statement":{statement},"signature":{json.dumps(note)}}}'
    receipt = json.dumps(handed.receipt | {"statement": 0}).replace('"statement": 0', f'"statement": {value}')
    for data in (whole, receipt, f'{{"checkpoint":{value}}}\n', note):
        for check in checks(verifier, handed):
            with contextlib.suppress(verifier.Wrong):
                check(data.encode())


@settings(max_examples=tries(80))
@given(st.data())
def test_anything_within_what_is_right(verifier: ModuleType, handed: HandedOut, data: st.DataObject) -> None:
    texts = [handed.proof, handed.consistency, handed.statement, handed.notes[14], json.dumps(handed.receipt)]
    whole = data.draw(st.sampled_from([*[each.encode() for each in texts], handed.export]))
    at = data.draw(st.integers(0, len(whole)))
    put = data.draw(
        st.binary(min_size=1, max_size=40) | st.sampled_from([b"\n", b"\n\n", b"[" * 99_999, b"9" * 99_999])
    )
    changed = whole[:at] + put + whole[at + data.draw(st.integers(0, 80)) :]
    for check in checks(verifier, handed):
        with contextlib.suppress(verifier.Wrong):
            check(changed)


@settings(max_examples=tries(80))
@given(st.binary(max_size=200), st.binary(max_size=20), st.integers(0, 200))
def test_any_time_stamp(verifier: ModuleType, start: bytes, put: bytes, at: int) -> None:
    for data in (start, b"\x30\x82\xff\xff" + start, b"\x30" + bytes([len(start) % 128]) + start, start[:at] + put):
        with pytest.raises(verifier.Wrong):
            verifier.check_stamp(data, b"x", [])


TABLES = (
    "CREATE TABLE audit_entries (position, leaf_hash, record, time_ms, event, actor_id, request_id)",
    "CREATE TABLE audit_checkpoints (size, note)",
)
ENDLESS = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) AS"


@pytest.mark.parametrize(
    "statements",
    [
        (),
        TABLES[:1],
        (*TABLES, "INSERT INTO audit_checkpoints VALUES ('x', 'y')"),
        (*TABLES, "INSERT INTO audit_checkpoints VALUES (NULL, NULL)"),
        (*TABLES, "INSERT INTO audit_checkpoints VALUES (9e99, x'ff')"),
        (*TABLES, "INSERT INTO audit_entries VALUES (0, 1, 2, 3, 4, 5, 6)"),
        (*TABLES, "INSERT INTO audit_entries VALUES ('0', x'00', '{}', 3, 4, 5, 6)"),
        (TABLES[0], f"CREATE VIEW audit_checkpoints AS {ENDLESS} size, 0 AS note FROM c"),
        (TABLES[1], f"CREATE VIEW audit_entries AS {ENDLESS} position FROM c"),
    ],
)
def test_any_database(verifier: ModuleType, handed: HandedOut, tmp_path: Path, statements: tuple[str, ...]) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "log.db")) as connection, connection:
        connection.execute("CREATE TABLE other (x)")
        for each in statements:
            connection.execute(each)
    with pytest.raises(verifier.Wrong):
        verifier.check_database(tmp_path / "log.db", trust(verifier, handed), [], verifier.Report())


@settings(max_examples=tries(100))
@given(st.binary(max_size=300), st.integers(0, 300))
def test_any_bytes_of_a_database(verifier: ModuleType, handed: HandedOut, spoiled: bytes, at: int) -> None:
    """An empty one, spoiled: what SQLite makes of it is its own affair, so long as it is a verdict."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "log.db"
        with contextlib.closing(sqlite3.connect(file)) as connection, connection:
            for each in TABLES:
                connection.execute(each)
        data = file.read_bytes()
        file.write_bytes(data[: 16 + at] + spoiled + data[16 + at + len(spoiled) :])
        with contextlib.suppress(verifier.Wrong):
            verifier.check_database(file, trust(verifier, handed), [], verifier.Report())


def hostile(folder: Path) -> dict[str, Path]:
    """Files made to cost time or memory."""
    head = '{"export":"intramural-log/1","frontier":[],"origin":"intramural.local/audit","size":1,"start":0}\n'
    bodies = {
        "one endless line": b"a" * (40 << 20),
        "an endless entry": head.encode() + b'{"leaf":"' + b"A" * (40 << 20),
        "endless nesting": b"[" * (10 << 20),
        "an endless number": b'{"v":' + b"9" * (10 << 20) + b"}",
        "endless signatures": b"a\n1\nb\n\n" + "— a AAAAAAAA\n".encode() * 100_000,
        "endless hashes": b"old 1\n" + b"A" * 43 + b"=\n" * 1_000_000,
        "a sparse file": b"",
    }
    found = {}
    for number, (name, body) in enumerate(bodies.items()):
        found[name] = folder / str(number)
        found[name].write_bytes(body)
    with found["a sparse file"].open("r+b") as file:
        file.truncate(1 << 40)
    return found


def test_hostile_files_cost_no_more_than_others(standing: Standing, handed: HandedOut, tmp_path: Path) -> None:
    """In a process that may have 512 MiB and 20 s of processor; each answers 1 and says why."""
    program = (
        f"import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_AS, (1 << 29, 1 << 29)); "
        f"resource.setrlimit(resource.RLIMIT_CPU, (20, 20)); "
        f"sys.argv[0] = 'v'; runpy.run_path({str(FILE)!r}, run_name='__main__')"
    )
    for name, file in hostile(tmp_path).items():
        for command in ("log", "checkpoint", "receipt"):  # by lines, as a note, as JSON
            done = standing.python(program, command, str(file), "--key", handed.keys[0])
            assert (done.returncode, done.stderr) == (1, ""), (name, command, done)
            assert done.stdout.startswith("wrong: ") and len(done.stdout) < 500


def test_what_it_prints_of_a_file_cannot_colour_a_terminal(
    standing: Standing, handed: HandedOut, tmp_path: Path
) -> None:
    note = tmp_path / "note"
    note.write_text("\u202eevil\x1b[31m\n1\n" + "A" * 43 + "=\n\n— x AAAAAAAA\n")
    done = subprocess.run(
        [sys.executable, str(FILE), "checkpoint", str(note), "--key", handed.keys[0]],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1 and "\x1b" not in done.stdout and "\u202e" not in done.stdout
