"""Which people lack a consent: who is wanted, and in what order they are shown. Pure."""

import pytest

from intramural.access import Feature
from intramural.services.consent import Shown, Sifted, sift

NEEDED = frozenset({Feature.USE, Feature.KEEP})
PEOPLE = [
    Shown("1", "Zoe", "adult", frozenset(), frozenset()),
    Shown("2", "bo", "under-13", NEEDED, frozenset()),
    Shown("3", "Ada", "13-15", NEEDED, frozenset({"use"})),
    Shown("4", "cy", "13-15", NEEDED, frozenset({"use", "keep", "files"})),
    Shown("5", "dee", "13-15", NEEDED, frozenset(), shut_out=True),
    Shown("6", "Eve", "unknown", frozenset(), frozenset()),
]


@pytest.mark.parametrize(
    ("sifted", "names", "total", "after"),
    [
        (Sifted(), ["Ada", "bo", "cy", "dee", "Eve", "Zoe"], 6, None),
        (Sifted(lacking=True), ["Ada", "bo"], 2, None),
        (Sifted(age="13-15"), ["Ada", "cy", "dee"], 3, None),
        (Sifted(age="13-15", lacking=True), ["Ada"], 1, None),
        (Sifted(age="unknown", lacking=True), [], 0, None),
        (Sifted(limit=2), ["Ada", "bo"], 6, "bo"),
        (Sifted(limit=2, after="bo"), ["cy", "dee"], 6, "dee"),
        (Sifted(limit=2, after="dee"), ["Eve", "Zoe"], 6, None),
        (Sifted(after="zoe"), [], 6, None),
    ],
)
def test_those_who_are_wanted_lie_by_name_a_page_at_a_time(sifted, names, total, after):
    page = sift(PEOPLE, sifted)
    assert ([each.username for each in page.people], page.total, page.after) == (names, total, after)
