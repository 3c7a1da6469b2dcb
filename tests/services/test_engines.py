"""What the log is told of engines elsewhere, from one start to the next."""

import itertools
from pathlib import Path
from typing import Any

import pytest
from tests import databases

from intramural.audit import AuditLog, Event
from intramural.core.clock import SystemClock
from intramural.core.config import AuditConfig
from intramural.core.engines import RemoteEngine, parse
from intramural.http.anthropic import models as anthropic
from intramural.http.ollama import describe as ollama
from intramural.http.openai import models as openai
from intramural.library import elsewhere
from intramural.services.engines import changes, record_engines

A, B = {"kind": "vllm"}, {"kind": "sglang"}
TEXT = '[lab]\nkind = "vllm"\naddress = "http://127.0.0.1:9"\ncontext_tokens = 512\nmodels = {m = "theirs"}\n'


def engines(text: str) -> tuple[RemoteEngine, ...]:
    return parse(text, "engines.toml", {"KEY": "s3cret"}, allow_network=True)


@pytest.mark.parametrize(
    ("before", "now", "found"),
    [
        ({}, {}, []),
        ({"a": A}, {"a": A}, []),
        ({}, {"a": A}, [(Event.ENGINE_ADDED, "a", A)]),
        ({"a": A}, {"a": B}, [(Event.ENGINE_CHANGED, "a", B)]),
        ({"a": A, "b": B}, {"b": B}, [(Event.ENGINE_REMOVED, "a", A)]),
        ({"a": A}, {"b": A}, [(Event.ENGINE_REMOVED, "a", A), (Event.ENGINE_ADDED, "b", A)]),
    ],
)
def test_what_became_of_engines(before: Any, now: Any, found: Any) -> None:
    assert changes(before, now) == found


async def test_each_change_is_written_down_once_and_without_the_key(tmp_path: Path) -> None:
    db = await databases.opened(tmp_path / "db")
    audit = await AuditLog.open(db, tmp_path / "secrets", AuditConfig(), SystemClock())
    seen: list[tuple[int, str]] = []
    for text in (TEXT, TEXT, TEXT + 'api_key_env = "KEY"\n', "", ""):
        await record_engines(audit, engines(text), tmp_path)
        seen.append((audit.size, (tmp_path / "engines.known.json").read_text()))
    await audit.close()
    await db.close()
    sizes = [size for size, _ in seen]
    assert [later - earlier for earlier, later in itertools.pairwise(sizes)] == [0, 1, 1, 0]
    assert all("s3cret" not in kept for _, kept in seen)


def test_a_model_elsewhere_has_no_files_no_digest_and_no_size() -> None:
    (manifest,) = elsewhere(engines(TEXT)[0], 7)
    assert (manifest.name, manifest.digest, manifest.files, manifest.size_bytes) == ("m", "", (), 0)
    assert (manifest.purpose, manifest.source, manifest.trust, manifest.sees) == ("chat", "engine:lab", "local", False)


def test_every_dialect_can_show_one() -> None:
    (manifest,) = elsewhere(engines(TEXT)[0], 7)
    assert ollama.entry(manifest)["details"]["family"] == "remote-vllm"
    assert ollama.shown(manifest)["capabilities"]
    assert openai.model(manifest)["capabilities"] == ["chat", "completion", "tools"]
    assert anthropic.model(manifest, 512)["id"] == "m"
