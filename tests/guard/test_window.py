"""A text that grows is treated as if it had been there whole, and little of it is held back."""

from itertools import pairwise

from bench._guard_set import APART, NOTHING, WORKED_ON, documents
from hypothesis import given
from hypothesis import strategies as st

from intramural.guard import STRUCTURED, Pseudonyms, Window, found, policies, treated

POLICY = policies(("phi: *=redact name=allow place=allow organisation=allow image=allow",))["phi"]
DOCUMENTS = documents((*WORKED_ON, *APART), 1)
KEY = b"w" * 32


def streamed(text: str, cuts: list[int]) -> tuple[str, int]:
    """What comes out piece by piece, and the most that was held back at a time."""
    window, marks, shown, held = Window(), Pseudonyms(KEY, 2026), [], 0
    places = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]

    def release(count: int) -> None:
        taken, spans = window.take(count, found(window.text, STRUCTURED))
        shown.append(treated(taken, spans, POLICY, marks).text)

    for start, end in pairwise(places):
        window.push(text[start:end])
        if count := window.ready():
            release(count)
        held = max(held, len(window.pending) if end - start <= 8 else 0)
    release(len(window.pending))
    return "".join(shown), held


@given(st.sampled_from(DOCUMENTS), st.lists(st.integers(0, 10_000), max_size=60))
def test_however_it_comes_it_is_treated_as_the_whole(document, cuts: list[int]) -> None:
    text = document.text
    whole = treated(text, found(text, STRUCTURED), POLICY, Pseudonyms(KEY, 2026)).text
    assert streamed(text, cuts)[0] == whole


def test_letter_by_letter_nothing_that_was_asked_for_leaks() -> None:
    for document in DOCUMENTS[::3]:
        text = document.text
        whole = treated(text, found(text, STRUCTURED), POLICY, Pseudonyms(KEY, 2026)).text
        assert streamed(text, list(range(len(text))))[0] == whole


def test_prose_is_held_back_by_a_few_words_only() -> None:
    prose = "The patient slept well and had no pain in the night, and went home with her daughter. " * 5
    shown, held = streamed(prose, list(range(len(prose))))
    assert shown == prose
    assert held < 80


def test_nothing_is_lost_where_nothing_is_found() -> None:
    for text in NOTHING:
        assert streamed(text, [5, 9, 30])[0] == text


def test_a_mark_is_never_cut() -> None:
    mark = "[DATE-2024-7K3Q9M]"
    window = Window()
    window.push("It was a long and quiet day in the middle of it all and then " * 4 + mark[:5])
    count = window.ready()
    taken, _ = window.take(count, ())
    assert count and "[" not in taken


def test_sentences_wait_for_their_end() -> None:
    window = Window(sentences=True)
    window.push("Somebody came in the morning and then Ann")
    assert window.ready() == 0
    window.push(" Smith left. Then nothing")
    taken, _ = window.take(window.ready(), ())
    assert taken == "Somebody came in the morning and then Ann Smith left. "
