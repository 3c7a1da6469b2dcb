"""Capital and small letters of every language that writes in Latin letters, for the insides of `[…]` in expressions.

`[A-Z]` does not know the `Č` of Čapek, nor `[a-z]` the `ć` of Mikolčić.
"""

import unicodedata

#: Latin with all its marks: up to Latin Extended-B, and Latin Extended Additional (Vietnamese).
_BLOCKS = (*range(0xC0, 0x250), *range(0x1E00, 0x1F00))


def _of(category: str) -> str:
    return "".join(chr(each) for each in _BLOCKS if unicodedata.category(chr(each)) == category)


UPPER = "A-Z" + _of("Lu")
LOWER = "a-z" + _of("Ll")


def bare(text: str) -> str:
    """`text` in small letters without their marks: what `Renátó` and `renato` have in common."""
    apart = unicodedata.normalize("NFKD", text.casefold().replace("ø", "o").replace("ł", "l").replace("đ", "d"))
    return "".join(each for each in apart if not unicodedata.combining(each))
