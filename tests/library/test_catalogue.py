"""The catalogue: strict, signed, complete, and its sums are right."""

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from intramural.core.errors import IntramuralError, Misasked, Untrusted
from intramural.library import STARTER, Entry, advise, load_catalogue, need, suggest
from intramural.library.advice import Machine
from intramural.library.catalogue.entries import parse
from intramural.library.catalogue.signed import BUILT_IN, signature
from intramural.library.fit import Weighed

GIB = 2**30
BUILT = load_catalogue()


def entry(entry_id: str) -> Entry:
    found = BUILT.catalogue.find(entry_id)
    assert found is not None
    return found[0]


# what is in it --------------------------------------------------------------------------------------------------------

#: Every family that the product promises, by what must be found.
FAMILIES = [
    "llama-3.1-405b", "llama-4-scout", "llama-4-maverick", "qwen3-8b", "qwen3-coder-30b-a3b", "qwen3.8-27b",
    "gemma-3-12b", "gemma-4-12b", "deepseek-r1", "deepseek-v3", "deepseek-v4-flash", "mistral-small-3.2",
    "mixtral-8x7b", "devstral-small", "bloom-7b1",
]  # fmt: skip


@pytest.mark.parametrize("entry_id", FAMILIES)
def test_every_family_has_an_entry(entry_id: str) -> None:
    assert entry(entry_id).shape is not None


def test_every_task_has_an_entry() -> None:
    tasks = {task for each in BUILT.catalogue.entries for task in each.tasks}
    assert tasks == {"chat", "code", "vision", "embedding", "rerank", "speech"}


def test_it_is_signed_and_dated() -> None:
    assert BUILT.source == "built in"
    assert BUILT.signed_by is not None
    assert BUILT.signed_by.startswith("intramural (ed25519 ")
    assert BUILT.catalogue.dated >= "2026-11-21"


def test_the_starter_is_the_one_that_is_pinned_elsewhere() -> None:
    variant = entry("smollm2-135m").variants[0]
    assert variant.pinned
    assert variant.digests == (STARTER.weights.digest,)
    assert entry("smollm2-135m").size_bytes(variant) == (STARTER.weights.size_bytes, True)


def test_what_has_no_digest_is_not_pinned() -> None:
    assert not entry("llama-3.1-405b").variants[0].pinned
    assert entry("gemma-4-12b").variants[0].pinned
    assert len(entry("qwen3-235b-a22b").variants[0].digests) == 3


def test_what_the_engine_cannot_run_says_so() -> None:
    for each in BUILT.catalogue.entries:
        for variant in each.variants:
            serves = variant.format == "gguf" and not {"rerank", "speech"} & set(each.tasks)
            assert variant.servable == serves, each.id


@pytest.mark.parametrize("each", BUILT.catalogue.entries, ids=lambda each: each.id)
def test_its_shapes_make_sense(each: Entry) -> None:
    """Weights are most of what a model needs at a short context, whatever its shape."""
    for variant in each.variants:
        model = each.weighed(variant)
        if model is None:
            assert each.tasks == ("speech",)
            continue
        found = need(model, 1, 512)
        assert model.size_bytes < found.memory_bytes < model.size_bytes * 1.15 + 0.6 * GIB
        assert model.shape.expert_bytes < model.size_bytes
        assert len(model.shape.kv_heads) == model.shape.layers


#: Bytes of cache for one token in 16 bits, as the publishers' own figures give them.
CACHES = [
    ("llama-3.1-8b", 32 * 8 * 128 * 2 * 2),
    ("llama-3.1-405b", 126 * 8 * 128 * 2 * 2),
    ("deepseek-v3", 61 * 576 * 2),
    ("qwen3.8-27b", 16 * 4 * 256 * 2 * 2),
    ("mixtral-8x7b", 32 * 8 * 128 * 2 * 2),
]


@pytest.mark.parametrize(("entry_id", "bytes_per_token"), CACHES)
def test_caches(entry_id: str, bytes_per_token: int) -> None:
    each = entry(entry_id)
    model = each.weighed(each.variants[0])
    assert model is not None
    grown = need(model, 1, 65536).kv_bytes - need(model, 1, 32768).kv_bytes
    assert grown == 32768 * bytes_per_token


def test_gemma_4_12b_keeps_a_window_in_five_of_six_layers() -> None:
    each = entry("gemma-4-12b")
    model = each.weighed(each.variants[0])
    assert model is not None
    sliding, full = 40 * 1280 * 8 * (256 + 256) * 2, 8 * 32768 * 1 * (512 + 512) * 2
    checkpoint = 40 * 1024 * 8 * (256 + 256) * 2
    assert need(model, 1, 32768).kv_bytes == sliding + full + checkpoint


# the family rows ------------------------------------------------------------------------------------------------------


def advice(entry_id: str, ram_gb: float, vram_gb: float = 0, context_tokens: int = 8192) -> Any:
    each = entry(entry_id)
    model = each.weighed(each.variants[0])
    assert model is not None
    machine = Machine(int(ram_gb * 0.7e9), 8, int(vram_gb * 1e9), 40_000_000_000)
    return advise(model, machine, context_tokens=context_tokens, about=True)


def test_gemma_4_12b_runs_in_16_gb() -> None:
    found = advice("gemma-4-12b", 16)
    assert found.verdict in ("comfortable", "tight")
    assert found.context_tokens == 8192
    assert found.memory_bytes < 11.2e9
    assert 1 < found.tokens_per_s < 10


def test_gemma_4_12b_uses_a_card_with_8_gb() -> None:
    found = advice("gemma-4-12b", 16, vram_gb=8)
    assert found.verdict == "comfortable"
    assert found.gpu_layers >= 40
    assert found.vram_bytes <= 8e9
    assert found.tokens_per_s > 2 * advice("gemma-4-12b", 16).tokens_per_s
    assert "graphics card" in found.because


def test_llama_405b_on_a_small_machine_is_a_plain_no() -> None:
    found = advice("llama-3.1-405b", 16, vram_gb=8)
    assert found.verdict == "no"
    assert "24" in found.because  # of some 247 GB
    assert "11.2 GB" in found.because
    assert found.tokens_per_s is None


def test_a_mixture_keeps_its_experts_in_memory_and_the_rest_on_the_card() -> None:
    found = advice("qwen3-coder-30b-a3b", 48, vram_gb=8)
    assert found.gpu_layers == found.layers == 48
    assert 0 < found.experts_on_cpu < 48
    assert found.vram_bytes <= 8e9
    assert "experts" in found.because


def test_of_a_mixture_only_the_active_part_counts_for_speed() -> None:
    mixture, dense = advice("qwen3-coder-30b-a3b", 64), advice("gemma-4-31b", 64)
    assert mixture.tokens_per_s > 4 * dense.tokens_per_s


@pytest.mark.parametrize(
    ("memory_gib", "parameters"), [(1, (0, 0.6e9)), (8, (1e9, 9e9)), (16, (8e9, 20e9)), (64, (24e9, 90e9))]
)
def test_suggestions(memory_gib: int, parameters: tuple[float, float]) -> None:
    found = suggest(BUILT.catalogue, memory_gib * GIB, lambda _: None)
    assert found is not None
    assert parameters[0] <= found.entry.parameters <= parameters[1]
    assert f"{memory_gib} GiB" in found.why
    assert found.memory_bytes < memory_gib * GIB


def test_nothing_is_suggested_where_nothing_fits() -> None:
    assert suggest(BUILT.catalogue, GIB // 8, lambda _: None) is None


def test_what_is_suggested_is_quick_on_this_machine() -> None:
    def speed(model: Weighed) -> float:
        return 20e9 / model.size_bytes

    found = suggest(BUILT.catalogue, 32 * GIB, speed)
    assert found is not None
    assert 1e9 < found.entry.parameters < 9e9
    slow = suggest(BUILT.catalogue, 32 * GIB, lambda model: speed(model) / 1000)
    assert slow is not None
    assert slow.entry.parameters < 1e9


# signatures -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def own(tmp_path: Path) -> tuple[Path, Path]:
    """An institution's own catalogue with its key: the built-in one, under another name."""
    key = Ed25519PrivateKey.generate()
    data = BUILT_IN.read_bytes().replace(b'"name": "intramural"', b'"name": "School District 9"')
    path, public = tmp_path / "ours.json", tmp_path / "ours.pem"
    path.write_bytes(data)
    (tmp_path / "ours.json.sig").write_text(signature(data, key))
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return path, public


def refused(path: Path, key: Path | None) -> IntramuralError:
    with pytest.raises(IntramuralError) as caught:
        load_catalogue(path, key)
    return caught.value


def test_an_institutions_own(own: tuple[Path, Path]) -> None:
    path, key = own
    signed = load_catalogue(path, key)
    assert signed.source == "institution"
    assert signed.signed_by is not None
    assert signed.signed_by.startswith("School District 9 (ed25519 ")
    assert load_catalogue(path).signed_by is None


def test_a_changed_byte_is_noticed(own: tuple[Path, Path]) -> None:
    path, key = own
    path.write_bytes(path.read_bytes().replace(b"free for every use", b"free for any use..", 1))
    assert refused(path, key).code == "catalogue_signature_wrong"


def test_another_key_does_not_fit(own: tuple[Path, Path]) -> None:
    assert refused(own[0], BUILT_IN.with_suffix(".pem")).code == "catalogue_signature_wrong"


def test_no_signature_where_there_must_be_one(own: tuple[Path, Path]) -> None:
    path, key = own
    Path(f"{path}.sig").unlink()
    assert refused(path, key).code == "catalogue_unsigned"


@pytest.mark.parametrize("text", ["", "not base64!", "AAAA"])
def test_a_signature_that_is_none(own: tuple[Path, Path], text: str) -> None:
    path, key = own
    Path(f"{path}.sig").write_text(text)
    assert refused(path, key).code == "catalogue_signature_wrong"


def test_files_that_cannot_be_read(own: tuple[Path, Path], tmp_path: Path) -> None:
    path, key = own
    assert isinstance(refused(tmp_path / "none.json", None), Misasked)
    assert refused(path, tmp_path / "none.pem").code == "bad_setting"
    assert refused(path, path).code == "bad_setting"
    assert key.exists()


# strictness -----------------------------------------------------------------------------------------------------------


def changed(**fields: Any) -> bytes:
    """The built-in file with its first entry changed."""
    document = json.loads(BUILT_IN.read_bytes())
    document["entries"][0] |= fields
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"\xff",
        changed(parameters=0),
        changed(active_parameters=10**12),
        changed(licence="made-up"),
        changed(variants=[]),
        changed(surprise=1),
        changed(id="qwen3-8b"),
        changed(id="../x"),
        changed(released="soon"),
        changed(tasks=["cooking"]),
    ],
)
def test_what_is_not_exactly_a_catalogue_is_refused(data: bytes) -> None:
    with pytest.raises(Untrusted) as caught:
        parse(data)
    assert caught.value.code == "catalogue_malformed"


def test_finding_a_variant() -> None:
    both = entry("llama-3.1-8b").variants
    for text, variant in (("llama-3.1-8b", both[0]), ("Llama-3.1-8B:q8_0", both[1])):
        found = BUILT.catalogue.find(text)
        assert found is not None
        assert found[1] == variant
    assert BUILT.catalogue.find("llama-3.1-8b:q9") is None
    assert BUILT.catalogue.find("nothing") is None
