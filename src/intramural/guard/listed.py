"""Names that a model of the language overlooked: by lists of given and family names, and by being no known word. Pure.

A small model knows `James Smith`, and takes `Amara Okafor` for a place or for nothing. What it does tell reliably is
which words are proper nouns; of these, the ones on a list are names, with the proper nouns that go on from them. So is
a proper noun that is on no list and that the model never met as a word (`Exterkate`), unless its form or what stands
behind it says that it is a medicine.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from intramural.guard.letters import LOWER, UPPER, bare
from intramural.guard.titles import PARTICLES

#: Names of persons that are also names of times; a proper noun to every tagger.
_TIMES = frozenset(("april", "may", "june", "july", "august", "sunday", "monday", "friday", "saturday", "easter"))
_JOINTS = frozenset(PARTICLES.strip("(?:)").replace(" ", "|").split("|"))
_FORM = re.compile(rf"[{UPPER}][{LOWER}'’]")
_LOUD = re.compile(rf"[{UPPER}]{{3,}}(?:['’-][{UPPER}]+)?")
_LEAST_CHARS, _LEAST_UNKNOWN_CHARS = 3, 4
_MOST_TOKENS, _MOST_HOUSE = 5, 3
#: Stems of the World Health Organization's list of international nonproprietary names, and endings of medicine and of
#: sciences: a capital does not make them people. None that families have too (`-ate`, `-ian`, `-ing`, `-ol`, `-oma`).
_MEDICINE = re.compile(
    r"(?:pril|sartan|olol|alol|statin|azole|cillin|mycin|micin|floxacin|oxacin|cycline|tidine|setron|triptan|gliptin|"
    r"gliflozin|glutide|glitazone|formin|mab|tinib|[aeo]vir|zepam|zolam|barbital|ocaine|profen|dipine|parin|xaban|"
    r"semide|thiazide|[nt]isone|methasone|solone|nolone|phylline|terol|tropium|lukast|oxetine|ipramine|triptyline|"
    r"apine|idone|peridol|azine|dronate|sulfa|itis|osis|a?emia|[ntyi]uria|ectomy|otomy|plasty|scopy|ogram|graphy|"
    r"pathy|algia|philia|penia|megaly|rrhea|rrhage|plegia|phasia|trophy|genic|globin|globulin|cytes?|coccus|bacter|"
    r"bacillus|virus|aceae|idae|saurus|phase|ology|ics|ium|ness|tion|ment)$"
)
#: Behind a medicine's name: how much of it.
_DOSE = re.compile(r"\d|mg|mcg|ml|g|iu|units?|tablets?|tabs?|capsules?|hcl|er|xr|sr|po|iv|im|bid|tid|prn|daily", re.I)


@dataclass(frozen=True, slots=True)
class Token:
    """A word of the text: where it begins, whether it is a proper noun, what the model took it for, if anything
    (`name`, `place`, `organisation`)
    and whether the model knows it as a word.
    """

    text: str
    start: int
    proper: bool
    taken: str = ""
    ordinary: bool = False

    @property
    def end(self) -> int:
        return self.start + len(self.text)

    @property
    def initial(self) -> bool:
        return len(self.text.rstrip(".")) == 1 and self.text[0].isupper()


@dataclass(frozen=True, slots=True)
class Lists:
    """Given and family names in small letters without their marks, `amara` and `o'brien`."""

    given: frozenset[str]
    family: frozenset[str]

    @classmethod
    def of(cls, given: Iterable[str], family: Iterable[str]) -> "Lists":
        """Without what is too short to tell, and what names a time."""
        return cls(_usable(given), _usable(family))

    def has(self, text: str) -> bool:
        """Whether it is either."""
        plain = bare(text)
        return plain in self.given or plain in self.family


def listed(tokens: Sequence[Token], lists: Lists, *, unknown: bool = True) -> Iterator[tuple[int, int]]:
    """Where names stand that the model took for nothing.

    `unknown`: also by being no known word; somebody else should have a look at those (`tagger`).
    """
    place = 0
    while place < len(tokens):
        length = _loud_at(tokens, place, lists) or _name_at(tokens, place, lists, unknown=unknown)
        if length:
            yield tokens[place].start, tokens[place + length - 1].end
        place += length or 1


def houses(tokens: Sequence[Token], lists: Lists) -> Iterator[tuple[int, int, bool]]:
    """What the model takes for an organisation, of up to three words, each a name or no known word; and whether all are
    names, a given one first.
    """
    for place, first in enumerate(tokens):
        if first.taken != "organisation" or (place and tokens[place - 1].taken == "organisation"):
            continue
        length = 1
        while place + length < len(tokens) and tokens[place + length].taken == "organisation":
            length += 1
        words = [token for token in tokens[place : place + length] if not _belongs(token)]
        if not 1 <= len(words) <= _MOST_HOUSE or not all(_FORM.match(token.text) for token in words):
            continue
        known = [lists.has(token.text) for token in words]
        if all(known) and (len(words) == 1 or bare(words[0].text) in lists.given):
            yield first.start, words[-1].end, True
        elif all(known[at] or (not token.ordinary and not medical(token.text)) for at, token in enumerate(words)):
            yield first.start, words[-1].end, False


def _belongs(token: Token) -> bool:
    return token.text in ("'s", "’s", "'", "’", "s")


def _usable(names: Iterable[str]) -> frozenset[str]:
    return (
        frozenset(
            bare(each) for name in names for each in name.split() if len(each) >= _LEAST_CHARS and each[0].isupper()
        )
        - _TIMES
    )


def _name_at(tokens: Sequence[Token], place: int, lists: Lists, *, unknown: bool) -> int:
    """How many tokens from `place` on are one name; 0 where none begins."""
    first = tokens[place]
    if first.initial or not _could_be(first, lists):
        return 0
    length, known = 1, lists.has(first.text) or (unknown and stranger(tokens, place))
    for count, each in enumerate(tokens[place + 1 : place + _MOST_TOKENS], 2):
        if each.initial or _could_be(each, lists):
            length = count
            known = known or bare(each.text) in lists.family or (unknown and stranger(tokens, place + count - 1))
        elif bare(each.text) not in _JOINTS and each.text not in "-–":
            break
    return length if known else 0


def _could_be(token: Token, lists: Lists) -> bool:
    """A proper noun, or what is on a list and no word of the language, that the model took for nothing."""
    if token.taken or not _FORM.match(token.text):
        return False
    return token.proper or (not token.ordinary and lists.has(token.text))


def stranger(tokens: Sequence[Token], place: int) -> bool:
    """A proper noun that is no word the model ever met, and no medicine by its form or its dose."""
    token = tokens[place]
    if token.ordinary or not token.proper or len(token.text) < _LEAST_UNKNOWN_CHARS or not token.text.isalpha():
        return False
    if medical(token.text):
        return False
    return place + 1 >= len(tokens) or _DOSE.match(tokens[place + 1].text) is None


def medical(text: str) -> bool:
    """Whether it ends as medicines, findings and sciences do."""
    return _MEDICINE.search(bare(text)) is not None


def _loud_at(tokens: Sequence[Token], place: int, lists: Lists) -> int:
    """`SMITH JOHN`, `SMITH, JOHN`: capitals tell nothing, so two of them must be on the lists, one as a given name."""
    words = [at for at in range(place, min(len(tokens), place + 3)) if tokens[at].text != ","]
    loud = [at for at in words[:2] if _LOUD.fullmatch(tokens[at].text) and lists.has(tokens[at].text)]
    if len(loud) < 2 or loud[0] != place or not any(bare(tokens[at].text) in lists.given for at in loud):
        return 0
    return loud[1] - place + 1
