"""Malicious models as one table: what is in the files, and what has to become of them on the way to an engine.

The rows of structure, templates and other formats are those of the readers' own tests (`tests/library`), which ask the
reader alone; here they are files that somebody brings to a service. Further rows are what only the whole path has.
"""

import gzip
import io
import pickle
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from typing import Literal

from tests.fakes.gguf_file import STRING, GgufFile, Key, tiny_model
from tests.library.test_gguf import MALFORMED
from tests.library.test_onnx import HOSTILE as ONNX
from tests.library.test_onnx import encoder
from tests.library.test_safetensors import HOSTILE as SAFETENSORS
from tests.library.test_snapshot import HOSTILE as SNAPSHOTS
from tests.library.test_template import HARMFUL, UNPROVED

from intramural.library.finding import RELEASABLE, Danger
from intramural.library.gguf import Flaw

Outcome = Literal["refused", "quarantined"]
Files = Mapping[str, bytes]


@dataclass(frozen=True)
class Case:
    """Files that somebody brings. `code`: of the refusal, or among the findings of the quarantine; several where it
    depends on what the auditor comes upon first."""

    name: str
    about: str
    outcome: Outcome
    codes: tuple[str, ...]
    files: Callable[[], Files]


_ABOUT: Mapping[str, tuple[Flaw, ...]] = {
    "no GGUF at all, or a version that is none": (Flaw.TOO_SMALL, Flaw.MAGIC, Flaw.BYTE_ORDER, Flaw.VERSION),
    "counts that the file cannot hold": (Flaw.TENSOR_COUNT, Flaw.KEY_COUNT),
    "lengths past the end, negative, or that wrap": (
        Flaw.KEY_LENGTH, Flaw.STRING_LENGTH, Flaw.ARRAY_LENGTH, Flaw.TENSOR_NAME_LENGTH, Flaw.TRUNCATED,
    ),
    "names with control characters, none, or not UTF-8": (
        Flaw.KEY_EMPTY, Flaw.KEY_UTF8, Flaw.KEY_CHARACTERS, Flaw.STRING_UTF8, Flaw.TENSOR_NAME_EMPTY,
        Flaw.TENSOR_NAME_CHARACTERS,
    ),
    "a key or a tensor twice": (Flaw.KEY_DUPLICATE, Flaw.TENSOR_NAME_DUPLICATE),
    "types that do not exist, values that are none, arrays of arrays": (
        Flaw.VALUE_TYPE, Flaw.BOOLEAN, Flaw.FLOAT, Flaw.ARRAY_NESTED, Flaw.ARRAY_TYPE, Flaw.TENSOR_TYPE,
    ),
    "an alignment that is no power of two, or huge, or a text": (
        Flaw.ALIGNMENT_TYPE, Flaw.ALIGNMENT_VALUE, Flaw.TENSOR_UNALIGNED,
    ),
    "sizes whose product or sum wraps": (
        Flaw.OVERFLOW, Flaw.TENSOR_DIMENSIONS, Flaw.TENSOR_DIMENSION_ZERO, Flaw.TENSOR_BLOCK,
    ),
    "tensors past the end, over each other, with holes between": (
        Flaw.TENSOR_RANGE, Flaw.TENSOR_OVERLAP, Flaw.TENSOR_GAP, Flaw.TENSOR_ORDER,
    ),
    "bytes that nothing explains: an archive behind the weights, a message in the padding": (
        Flaw.PADDING, Flaw.TRAILING_BYTES,
    ),
    "known keys that are missing, of another type, or make no sense": (
        Flaw.MISSING_KEY, Flaw.SCHEMA, Flaw.KEY_RANGE, Flaw.NOT_A_MODEL, Flaw.SPLIT, Flaw.LAYERS, Flaw.HEADS,
        Flaw.EXPERTS, Flaw.CHARACTER_MAP,
    ),
    "vocabularies of two sizes, tokens beyond them, bytes that are none": (
        Flaw.VOCABULARY_LENGTH, Flaw.VOCABULARY_TENSOR, Flaw.TOKEN_ID, Flaw.BYTE_TOKEN,
    ),
}  # fmt: skip
_TEMPLATES: Mapping[str, tuple[Danger, ...]] = {
    "templates that are too much for a parser": (Danger.SIZE, Danger.DEPTH, Danger.SYNTAX),
    "templates that reach for the interpreter or for other files": (Danger.IMPORT, Danger.UNDERSCORES),
    "templates that call what chat templates do not need": (Danger.FILTER, Danger.TEST, Danger.CALL, Danger.METHOD),
    "templates without an end, or of which the text grows without one": (
        Danger.LOOP, Danger.RECURSION, Danger.COST, Danger.GROWTH,
    ),
    "templates that hide: addresses, invisible characters, words that appear when somebody's text has others": (
        Danger.CHARACTERS, Danger.ADDRESS, Danger.CONTENT_BRANCH,
    ),
}  # fmt: skip
_OTHER = "other formats, by their content: pickles, archives, programs, pages"


def templated(template: str) -> bytes:
    """A model of sound structure with that template."""
    return GgufFile().set(Key("tokenizer.chat_template", STRING, template)).build()


def _structure() -> Iterator[Case]:
    for name, flaw, _, build in MALFORMED:
        (about,) = (about for about, flaws in _ABOUT.items() if flaw in flaws)
        yield Case(name, about, "refused", (flaw.value,), lambda build=build: {"model.gguf": build()})  # type: ignore[misc]


def _templates() -> Iterator[Case]:
    for name, danger, template in HARMFUL:
        (about,) = (about for about, dangers in _TEMPLATES.items() if danger in dangers)
        outcome: Outcome = "quarantined" if danger in RELEASABLE else "refused"
        yield Case(
            f"template: {name}",
            about,
            outcome,
            (danger.value,),
            lambda text=template: {"model.gguf": templated(text)},  # type: ignore[misc]
        )
    about = "templates without an end, or of which the text grows without one"
    codes = (Danger.RECURSION.value, Danger.CALL.value)
    for name, template in UNPROVED:
        yield Case(
            f"template: a macro that calls itself, {name}", about, "quarantined", codes,
            lambda text=template: {"model.gguf": templated(text)},  # type: ignore[misc]
        )  # fmt: skip


class _Runs:
    """What a pickle does when somebody opens it."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("opened",)


def _archive(member: str, body: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr(member, body)
    return out.getvalue()


def _tar() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as packed:
        link = tarfile.TarInfo("model.gguf")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        packed.addfile(link)
    return out.getvalue()


_FORMATS: Mapping[str, tuple[str, Callable[[], bytes]]] = {
    "a pickle that runs code": ("model.bin", lambda: pickle.dumps(_Runs())),
    "a pickle that is called a GGUF": ("model.gguf", lambda: pickle.dumps(_Runs()) + bytes(64)),
    "a PyTorch archive with a pickle": ("model.pt", lambda: _archive("archive/data.pkl", pickle.dumps(_Runs()))),
    "an archive of 64 MiB in 64 KiB": ("model.gguf", lambda: _archive("../../x", bytes(64 << 20))),
    "64 MiB compressed to 64 KiB": ("model.gguf", lambda: gzip.compress(bytes(64 << 20))),
    "an archive with a link out of it": ("model.gguf", _tar),
    "a program (llamafile)": ("model.llamafile", lambda: b"\x7fELF" + bytes(100)),
    "a script": ("model.gguf", lambda: b"#!/bin/sh\necho opened\n" + bytes(64)),
    "an HDF5 file": ("model.h5", lambda: b"\x89HDF\r\n\x1a\n" + bytes(64)),
    "a web page": ("model.gguf", lambda: b"<!doctype html><script>fetch('/')</script>" + bytes(64)),
    "a pointer to a file": (
        "model.gguf",
        lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
    ),
    "safetensors that are called a GGUF": (
        "model.gguf",
        lambda: b"\x10" + bytes(7) + b'{"__metadata__":{}}' + bytes(64),
    ),
}


def _other() -> Iterator[Case]:
    for name, (file, build) in _FORMATS.items():
        yield Case(
            name, _OTHER, "refused", (Flaw.MAGIC.value, Flaw.TOO_SMALL.value),
            lambda file=file, build=build: {file: build()},  # type: ignore[misc]
        )  # fmt: skip
    for number, (flaw, raw, _, _) in enumerate(SAFETENSORS):
        honest = dict(next(files for each, files, _ in SNAPSHOTS if each == "snapshot_index"))
        support = {"config.json": honest["config.json"]}
        yield Case(
            f"safetensors {number}: {flaw.value}", "safetensors with a header that lies", "refused", (flaw.value,),
            lambda raw=raw, support=support: {"model.safetensors": raw, **support},  # type: ignore[misc]
        )  # fmt: skip
    for number, (found, files, _) in enumerate(SNAPSHOTS):
        if found.value in _AT_NAMES:
            continue  # refused or passed over by their names, before anything is read
        yield Case(
            f"snapshot {number}: {found.value}", "safetensors with settings that lie, or bring programs", "refused",
            (found.value,), lambda files=files: files,  # type: ignore[misc]
        )  # fmt: skip
    for number, (wrong, body) in enumerate(ONNX):
        yield Case(
            f"onnx {number}: {wrong.value}", "ONNX that names other files, addresses, functions or blobs", "refused",
            (wrong.value,), lambda body=body: encoder(body),  # type: ignore[misc]
        )  # fmt: skip


#: Of a folder only files of known names are taken along, so these are not there to be read.
_AT_NAMES = frozenset({"snapshot_file_unknown", "snapshot_file_twice", "snapshot_mixed", "snapshot_tokenizer_missing"})

#: Nothing is read of a file that is empty.
_EMPTY = "file_not_readable"


def _with_empty(cases: Iterator[Case]) -> Iterator[Case]:
    for case in cases:
        empty = any(not body for body in case.files().values())
        yield replace(case, codes=(*case.codes, _EMPTY)) if empty else case


CASES = tuple(_with_empty(chain(_structure(), _templates(), _other())))
#: One of each kind, for every run of the tests; all of them in the slow ones.
SHORT = frozenset(
    {next(case.name for case in CASES if case.about == about) for about in {case.about for case in CASES}}
)


def honest() -> bytes:
    """A model with nothing wrong that its structure could tell: it has no weights that an engine needs."""
    return tiny_model()


def table() -> str:
    """The page's table: a row for each kind of file."""
    lines = ["| what somebody brings | files tried | what becomes of it |", "|---|---|---|"]
    for about in dict.fromkeys(case.about for case in CASES):
        rows = [case for case in CASES if case.about == about]
        said = []
        for outcome in ("refused", "quarantined"):
            codes = sorted({code for case in rows if case.outcome == outcome for code in case.codes})
            if codes:
                said.append(f"{outcome}: " + ", ".join(f"`{code}`" for code in codes))
        lines.append(f"| {about} | {len(rows)} | {'; '.join(said)} |")
    return "\n".join(lines)
