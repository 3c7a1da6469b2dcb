"""Whether a model fits, through the front door and on the command line."""

from pathlib import Path

import requests
from tests.families.families import qwen3moe
from tests.families.tiny import write
from tests.service import MODEL, Service


def test_a_shelved_model(service: Service) -> None:
    found = service.command("fit", MODEL, "--ctx", "4096", "--slots", "2")
    assert (found["known_from"], found["size_known"], found["verdict"]) == ("the library", True, "comfortable")
    assert found["kv_bytes"] == 2 * 4096 * 30 * 3 * (64 + 64) * 2
    parts = ("weights_bytes", "kv_bytes", "compute_bytes", "process_bytes")
    assert found["memory_bytes"] == sum(found[part] for part in parts)
    quantised = service.command("fit", MODEL, "--ctx", "4096", "--slots", "2", "--kv", "q8_0")
    assert quantised["kv_bytes"] * 64 == found["kv_bytes"] * 34


def test_the_catalogue_on_another_machine(service: Service) -> None:
    found = service.command("fit", "gemma-4-12b", "--ram", "16GB")
    assert found["known_from"] == "the catalogue"
    assert not found["size_known"]
    assert found["verdict"] in ("comfortable", "tight")
    with_card = service.command("fit", "gemma-4-12b", "--ram", "16GB", "--vram", "8GB")
    assert with_card["gpu_layers"] >= 40
    assert with_card["vram_bytes"] <= 8e9
    assert service.command("fit", "llama-3.1-405b", "--ram", "16GiB")["verdict"] == "no"
    everything = {each["id"] for each in service.command("fit", "--ram", "16GB")}
    assert "qwen3-8b:q4_k_m" in everything
    assert "llama-3.1-405b:q4_k_m" not in everything


def test_a_file_that_is_not_shelved(service: Service, tmp_path: Path) -> None:
    file = write(tmp_path / "moe.gguf", "qwen3moe", qwen3moe)
    found = service.command("fit", str(file))
    assert (found["known_from"], found["size_known"]) == ("its header", True)
    assert (found["experts"], found["experts_used"]) == (4, 2)
    assert found["weights_bytes"] == file.stat().st_size
    measured = service.events(event="model.measured")
    # the log has the name under which the command lent it to the sealed service
    target = measured[0]["target"]
    assert target.startswith(f"source:file:{service.data_dir}/lent/") and target.endswith(f"/{file.name}")
    (tmp_path / "broken.gguf").write_bytes(b"GGUF" + bytes(100))
    refused = service.command("fit", str(tmp_path / "broken.gguf"), check=False)
    assert refused.returncode == 1
    assert service.events(event="model.measured")[0]["outcome"] == "failed"


def test_mistakes(service: Service) -> None:
    for words, code in (
        (("fit", "gemma-4-12b", "--ram", "much"), "bad_size"),
        (("fit", "no-such-model"), "bad_source"),
        (("fit", "whisper-base"), "not_a_language_model"),
    ):
        done = service.command(*words, check=False)
        assert done.returncode == 1
        assert code in done.stderr


def test_members_may_not_have_files_read(service: Service) -> None:
    key = service.new_key(scopes=["inference"])

    def ask(model: str) -> int:
        address = f"{service.address}/intramural/v1/fit"
        headers = {"Authorization": f"Bearer {key}"}
        return requests.post(address, json={"model": model}, headers=headers, timeout=30).status_code

    assert ask("gemma-4-12b") == 200
    assert ask("file:/etc/passwd") == 403
