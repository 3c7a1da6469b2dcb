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
_COMMON = (
    "all and any april are art august austin avenue baker ball banks baron bell best bill bishop black bond brook "
    "brown butler can carolina carter case center centre chase chelsea christian christmas clinic college cook "
    "cross dallas dawn day dean did doctor drew duke earl east english faith father field fisher florence for ford "
    "frank french friday frost gardener gene georgia german good grace grant green guy had hardy has her hill his "
    "hope hospital houston hunter jack jackson jean joe jordan joy june king lake land lane law lincoln little "
    "london long love madison major mark marshal mason max may miller monday moon mother new north not nurse old "
    "one our page parent paris park parker pat patient pool pope porter potter price rain ray reed rich ring rivers "
    "road rob rose saturday school sharp she shepherd short sky small smith snow south spanish star stone street "
    "strong student sue summer sun sunday sydney taylor teacher that the they this thursday tuesday two university "
    "virginia walker was washington wednesday wells west white will winter wise wood woods you young "
)
_WORDS = frozenset(_COMMON.split())
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
