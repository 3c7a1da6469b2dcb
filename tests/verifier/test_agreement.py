"""The verifier that stands alone and the product agree: on what holds, and on what does not."""

import ast
import json
import sys
from pathlib import Path

from tests.verifier.conftest import GROUPS, TEXTS, HandedOut
from tests.verifier.standing import FILE, Standing

from intramural.audit import verify_database


def put(folder: Path, name: str, content: str | bytes) -> Path:
    file = folder / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


def keys(handed: HandedOut) -> list[str]:
    return [f"--key={each}" for each in handed.keys]


def test_it_needs_the_standard_library_and_one_package(standing: Standing) -> None:
    named = {
        name.partition(".")[0]
        for node in ast.walk(ast.parse(FILE.read_text()))
        for name in (
            [each.name for each in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert named - set(sys.stdlib_module_names) == {"cryptography"}
    assert standing.python("import intramural").returncode != 0
    assert "No module named" in standing.python("import intramural").stderr


def test_a_log_is_checked_whole(standing: Standing, handed: HandedOut, tmp_path: Path) -> None:
    export = put(tmp_path, "export.jsonl", handed.export)
    held = tmp_path / "held"
    held.mkdir()
    for size, note in handed.notes.items():
        put(held, f"{size}.txt", note)
    found = standing.run("log", export, *keys(handed), "--held", held)
    assert (found.status, found.outcomes()) == (0, [("holds", "log"), ("holds", "held")])
    assert found.checks[0]["size"] == handed.size == json.loads(handed.export.partition(b"\n")[0])["size"]
    assert found.checks[1]["count"] == len(handed.notes) > len(GROUPS)
    assert all(set(json.loads(line)) in ({"leaf", "record"}, {"checkpoint"}) for line in handed.export.splitlines()[1:])


def test_with_one_key_the_other_signature_is_passed_over(standing: Standing, handed: HandedOut, tmp_path: Path) -> None:
    export = put(tmp_path, "export.jsonl", handed.export)
    found = standing.run("log", export, "--key", handed.keys[0])
    assert (found.status, found.outcomes()) == (0, [("passed over", "signatures"), ("holds", "log")])


def test_a_part_of_the_log_is_checked_alone(standing: Standing, handed: HandedOut, tmp_path: Path) -> None:
    part = put(tmp_path, "part.jsonl", handed.part)
    assert json.loads(handed.part.partition(b"\n")[0])["start"] > 0
    assert standing.run("log", part, *keys(handed)).outcomes() == [("holds", "log")]
    old = put(tmp_path, "old.txt", handed.notes[3])
    found = standing.run("log", part, *keys(handed), "--held", old)
    assert (found.status, found.outcomes()) == (3, [("not checked", "held"), ("holds", "log")])


def test_a_copy_of_the_database_is_checked(standing: Standing, handed: HandedOut, tmp_path: Path) -> None:
    database = handed.folder / "intramural.db"
    if not database.exists():  # the log lies on a server
        return
    old = put(tmp_path, "old.txt", handed.notes[14])
    found = standing.run("log", database, *keys(handed), "--held", old)
    assert (found.status, found.outcomes()) == (0, [("holds", "log"), ("holds", "held")])
    assert verify_database(database, handed.keys[0], [handed.notes[14]]).size == found.checks[0]["size"]


def test_checkpoints_proofs_and_statements(standing: Standing, handed: HandedOut, tmp_path: Path) -> None:
    note = put(tmp_path, "note.txt", handed.notes[14])
    assert standing.run("checkpoint", note, *keys(handed)).outcomes() == [("holds", "checkpoint")]
    proof = put(tmp_path, "entry.tlog-proof", handed.proof)
    found = standing.run("proof", proof, *keys(handed))
    assert (found.status, found.checks[0]["position"]) == (0, 11)
    consistency = put(tmp_path, "since.txt", handed.consistency)
    assert standing.run("consistency", consistency, *keys(handed), "--held", note).outcomes() == [
        ("holds", "consistency")
    ]
    statement = put(tmp_path, "statement.txt", handed.statement)
    assert standing.run("statement", statement, *keys(handed), "--kind", "attestation").status == 0
    assert standing.run("statement", statement, *keys(handed), "--kind", "receipt").status == 1
    said = {"object": "attestation", "statement": {"v": 1, "time_ms": 5, "sealed": True}, "signature": handed.statement}
    whole = put(tmp_path, "whole.json", json.dumps(said, indent=1))
    assert standing.run("statement", whole, *keys(handed)).checks[0]["kind"] == "attestation"
    said["statement"] = {"v": 1, "time_ms": 5, "sealed": False}
    assert standing.run("statement", put(tmp_path, "lie.json", json.dumps(said)), *keys(handed)).status == 1


def test_a_receipt_and_its_texts(standing: Standing, handed: HandedOut, tmp_path: Path) -> None:
    receipt = put(tmp_path, "receipt.json", json.dumps(handed.receipt))
    prompt, answer = (put(tmp_path, f"{name}.txt", TEXTS[name]) for name in ("prompt", "answer"))
    found = standing.run("receipt", receipt, *keys(handed), "--prompt", prompt, "--answer", answer)
    assert (found.status, found.outcomes()) == (0, [("holds", "receipt"), ("holds", "text"), ("holds", "text")])
    assert found.checks[0]["positions"] == [entry["position"] for entry in handed.receipt["entries"]]
    found = standing.run("receipt", receipt, *keys(handed), "--prompt", answer)
    assert (found.status, found.checks[-1]["says"]) == (1, "The prompt is another text than the one that was recorded.")


def test_how_it_is_called_wrongly(standing: Standing, handed: HandedOut, tmp_path: Path) -> None:
    note = put(tmp_path, "note.txt", handed.notes[14])
    assert standing.run("checkpoint", note).status == 2
    assert standing.run("checkpoint", tmp_path / "none", *keys(handed)).status == 2
    assert standing.run("checkpoint", note, "--key", handed.keys[0][:-3]).status == 2
    assert standing.run("checkpoint", note, "--key", handed.keys[1]).status == 2
    assert standing.run("nothing", note).status == 2


def test_keys_may_stand_in_a_file(standing: Standing, handed: HandedOut, tmp_path: Path) -> None:
    note, file = put(tmp_path, "note.txt", handed.notes[14]), put(tmp_path, "keys.txt", "\n".join(handed.keys) + "\n")
    assert standing.run("checkpoint", note, "--key", file).outcomes() == [("holds", "checkpoint")]
