"""What the guard finds of the test set, by class, with and without a model of the language: `python -m bench guard`.

`docs/guard.md` publishes this table and `tests/guard/test_measured.py` holds its floors.
"""

import asyncio
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from bench import _guard_outside
from bench._guard_scores import Scores
from bench._guard_set import APART, NOTHING, PROSE, VERSION, Document, documents
from bench.table import show
from intramural.core.config import GuardConfig
from intramural.guard import NAMED, STRUCTURED, Kind, Names, Nobody, found, reader_of
from intramural.sandbox import missing_layers, probe

#: Documents of each template: every class comes to 100 instances or more.
EACH = 30


async def measured(names: Names, among: Sequence[Document]) -> Scores:
    """The scores of what is looked for here."""
    scores = Scores()
    kinds = STRUCTURED | names.kinds
    for document in among:
        (more,) = await names.find([document.text])
        scores.add(document, found(document.text, kinds, more, whole=True), kinds)
    return scores


async def on_nothing(names: Names, texts: Sequence[str]) -> Counter[Kind]:
    """What is found in texts in which there is nothing."""
    kinds = STRUCTURED | names.kinds
    more = await names.find(texts)
    each = [found(text, kinds, spans, whole=True) for text, spans in zip(texts, more, strict=True)]
    return Counter(span.kind for spans in each for span in spans)


def main() -> None:
    """Print the tables."""
    asyncio.run(_main())


async def _main() -> None:
    await _table(Nobody(), "rules alone", documents(APART, EACH))
    with tempfile.TemporaryDirectory() as folder:
        names = reader_of(GuardConfig(), Path(folder), missing_layers((await probe()).level))
        if names.kinds:
            try:
                title = f"rules and {names.about}"
                await _table(names, title, documents(APART, EACH))
                if (where := _guard_outside.folder()) is not None:
                    for country in ("US", None):
                        of = f"documents of others, people of {country or 'everywhere'}"
                        for half in (None, *_guard_outside.Half):
                            others = _guard_outside.documents(where, 5, country, half)
                            part = "" if half is None else f", {half.name.lower().replace('_', ' ')}"
                            await _table(names, f"{title}; {of}{part}", others)
            finally:
                await names.close()


async def _table(names: Names, title: str, among: Sequence[Document]) -> None:
    began_s = time.process_time()
    scores = await measured(names, among)
    took_s = time.process_time() - began_s
    rows = [
        (
            kind.value,
            str(count),
            f"{scores.recall(kind):.3f}",
            f"{scores.redacted(kind):.3f}",
            f"{scores.recall_of_words(kind):.3f}",
            f"{scores.named[kind] / count:.3f}",
        )
        for kind in Kind
        if (count := scores.there[kind])
    ]
    nothing, prose = await on_nothing(names, NOTHING), await on_nothing(names, PROSE)
    prose_words = sum(len(text.split()) for text in PROSE)
    note = (
        f"Set {VERSION}: {scores.documents} documents, {scores.there.total()} instances. Documents from which "
        f"something leaks, of what is looked for: {scores.leak_rate:.2%}. "
        f"Spurious: {scores.spurious_rate:.2%} of what was "
        f"found, {nothing.total()} in {len(NOTHING)} sentences with nothing in them, and "
        f"{prose[Kind.NAME] * 1_000 / prose_words:.0f} names in 1,000 words of prose full of capitals. "
        f"{took_s / scores.documents * 1e3:.2f} ms of this process per document."
    )
    if not names.kinds:
        note += f" Not looked for: {', '.join(sorted(NAMED))}."
    show(
        f"guard: {title}",
        note,
        ("class", "instances", "whole", "whole, redacted under phi", "words", "called so"),
        rows,
    )
