"""`intramural inspect` as a person runs it: the exit status, and code, field and byte."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests import preloaded
from tests.fakes.gguf_file import GgufFile, Key, tiny_projector, tiny_set
from tests.fakes.safetensors_file import tiny_snapshot, tiny_weights
from tests.library.test_quarantine import SUSPICIOUS

SOUND = GgufFile().build()
REFUSED = GgufFile(tail=b"PK\x03\x04" * 16).build()


def inspect(*paths: Path, words: tuple[str, ...] = ("--json",)) -> subprocess.CompletedProcess[str]:
    return preloaded.run(["inspect", *map(str, paths), *words], os.environ)


def verdicts(*paths: Path) -> tuple[int, dict[str, Any]]:
    done = inspect(*paths)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def written(folder: Path, **files: bytes) -> Path:
    folder.mkdir(exist_ok=True)
    for name, raw in files.items():
        (folder / f"{name}.gguf").write_bytes(raw)
    return folder


def test_a_sound_file(tmp_path: Path) -> None:
    status, said = verdicts(written(tmp_path, good=SOUND) / "good.gguf")
    assert (status, said["verdict"]) == (0, "sound")
    (model,) = said["models"]
    assert (model["name"], model["architecture"], model["parameters"]) == ("good", "llama", 56)
    assert [each.name for each in tmp_path.iterdir()] == ["good.gguf"]


def test_a_refused_file_with_code_field_and_byte(tmp_path: Path) -> None:
    status, said = verdicts(written(tmp_path, bad=REFUSED) / "bad.gguf")
    (model,) = said["models"]
    assert (status, model["verdict"], model["code"]) == (3, "refused", "gguf_trailing_bytes")
    assert (model["field"], model["offset"]) == ("output_norm.weight", len(SOUND))


def test_a_quarantined_file_with_its_findings(tmp_path: Path) -> None:
    status, said = verdicts(written(tmp_path, odd=SUSPICIOUS) / "odd.gguf")
    (model,) = said["models"]
    assert (status, model["verdict"], model["code"]) == (4, "quarantined", None)
    assert [(each["code"], each["line"]) for each in model["findings"]] == [("template_recursion", 1)]


def test_a_folder_with_a_set_a_projector_and_what_is_no_model(tmp_path: Path) -> None:
    shards = {f"big-{n:05}-of-00003": file.build() for n, file in enumerate(tiny_set(3), start=1)}
    written(tmp_path, **shards, **{"mmproj-big": tiny_projector().build()})
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "old.bin").write_bytes(b"\x80\x04\x95" + bytes(100))
    (tmp_path / "README.md").write_text("hello")
    status, said = verdicts(tmp_path)
    assert status == 3
    assert [(each["name"], each["verdict"], each["code"], len(each["files"])) for each in said["models"]] == [
        ("big", "sound", None, 4),
        ("old.bin", "refused", "gguf_magic", 1),
    ]


def test_one_shard_stands_for_its_set(tmp_path: Path) -> None:
    shards = {f"big-{n:05}-of-00003": file.build() for n, file in enumerate(tiny_set(3), start=1)}
    written(tmp_path, **shards)
    status, said = verdicts(tmp_path / "big-00002-of-00003.gguf")
    assert (status, len(said["models"][0]["files"])) == (0, 3)
    (tmp_path / "big-00003-of-00003.gguf").unlink()
    status, said = verdicts(tmp_path / "big-00001-of-00003.gguf")
    assert (status, said["models"][0]["code"]) == (3, "shard_missing")


def test_the_worst_of_several_is_the_status(tmp_path: Path) -> None:
    written(tmp_path, good=SOUND, bad=REFUSED, odd=SUSPICIOUS)
    paths = {name: tmp_path / f"{name}.gguf" for name in ("good", "bad", "odd")}
    assert inspect(paths["good"], paths["odd"]).returncode == 4
    assert inspect(*paths.values()).returncode == 3


def test_for_people_and_for_pipes(tmp_path: Path) -> None:
    file = written(tmp_path, bad=GgufFile().set(Key("llama.block_count", 4, 513)).build()) / "bad.gguf"
    said = " ".join(inspect(file, words=()).stdout.split())
    assert "refused" in said
    assert "gguf_key_range" in said
    assert inspect(file, words=("--quiet",)).stdout == "refused\n"


@pytest.mark.parametrize("make", [lambda path: None, os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_what_is_no_file_is_an_error_of_its_own(tmp_path: Path, make: Callable[[Path], object]) -> None:
    make(tmp_path / "x.gguf")
    done = inspect(tmp_path / "x.gguf")
    assert done.returncode == 1
    assert "file_not_readable" in done.stderr
    (tmp_path / "empty").mkdir()
    assert "nothing_to_inspect" in inspect(tmp_path / "empty").stderr


def test_a_safetensors_snapshot_and_one_that_lacks_its_config(tmp_path: Path) -> None:
    for name, body in tiny_snapshot().items():
        (tmp_path / name).write_bytes(body)
    for asked in (tmp_path, tmp_path / "model.safetensors"):
        status, said = verdicts(asked)
        assert (status, [each["architecture"] for each in said["models"]]) == (0, ["llama"])
        assert len(said["models"][0]["files"]) == len(tiny_snapshot())
    (tmp_path / "consolidated.safetensors").write_bytes(tiny_weights("c"))
    (tmp_path / "other.safetensors").write_bytes(b"\x80\x04" + bytes(99))
    status, said = verdicts(tmp_path)
    assert (status, [(each["name"], each["code"]) for each in said["models"][1:]]) == (
        3,
        [("consolidated.safetensors", None), ("other.safetensors", "safetensors_header_length")],
    )
    (tmp_path / "config.json").unlink()
    status, said = verdicts(tmp_path)
    assert (status, [each["code"] for each in said["models"]]) == (3, ["snapshot_config_missing"])
