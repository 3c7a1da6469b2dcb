"""A name that was found once is found everywhere in a text, and so is each part of it. Pure.

Only in a text that is there as a whole: one that streams cannot be changed backwards.
"""

import re
from collections.abc import Iterable, Iterator

from intramural.guard.classes import Kind
from intramural.guard.letters import LOWER, UPPER
from intramural.guard.span import Span

_WORD = re.compile(rf"(?<![\w@/.-])[{UPPER}][{UPPER}{LOWER}'’]*[{UPPER}{LOWER}](?![\w@])")
#: Names that are words: alone, and in capitals where a sentence or a line begins, they may be just that.
_WORDS = frozenset(
    "will may mark grace hope faith joy bill rose june april august summer dawn chase grant price young long brown "
    "white black green king art rich pat sue rob drew frank jack jean joe gene guy max sky star page reed ray dean "
    "earl duke baron bishop pope major marshal cook baker carter mason hunter fisher miller smith taylor walker "
    "parker porter potter shepherd gardener butler day love good best wise hardy short small little strong sharp "
    "stone wood woods field hill lake rivers brook banks west north south east winter snow frost rain wells ford "
    "case bell ball bond cross law land lane park pool ring sun moon may christian christmas paris london chelsea "
    "jordan sydney florence virginia georgia carolina dallas austin houston washington lincoln jackson madison "
    "hospital school clinic college university center centre street road avenue doctor nurse teacher mother father "
    "patient student parent monday tuesday wednesday thursday friday saturday sunday english spanish french german "
    "the this that and for not his her she they you our any all can had has was are did new old one two".split()
)
#: Three capitals are an abbreviation.
_LEAST_CHARS, _LEAST_LOUD_CHARS = 3, 4
_SCORE = 0.55


def again(text: str, spans: Iterable[Span]) -> Iterator[Span]:
    """Where parts of the names among `spans` stand once more, as they are written there or in capitals."""
    parts = {
        part
        for span in spans
        if span.kind is Kind.NAME
        for part in _WORD.findall(text, span.start, span.end)
        if len(_bare(part)) >= (_LEAST_LOUD_CHARS if part.isupper() else _LEAST_CHARS)
        and _bare(part).lower() not in _WORDS
    }
    if not parts:
        return
    forms = {form for part in parts for form in (part, part.upper(), part.upper().capitalize(), _bare(part))}
    for match in _WORD.finditer(text):
        if _bare(match[0]) in forms:
            yield Span(Kind.NAME, match.start(), match.start() + len(_bare(match[0])), _SCORE, "name-again")


def _bare(word: str) -> str:
    """Without the ending of possession."""
    return word.removesuffix("'s").removesuffix("’s")
