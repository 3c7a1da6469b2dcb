"""What the settings say about labels, and what is done with a text."""

from itertools import product

import pytest

from intramural.core import actor
from intramural.core.errors import Misasked
from intramural.guard import LABELS, Deed, Kind, Pseudonyms, found, policies, treated
from intramural.guard.policy import FLOORS, raised
from intramural.guard.tree import parsed

TEXT = "MRN: 00482913, seen on 3 March 2024, SSN 123-45-6789."


def test_every_label_has_a_policy_and_under_internal_nothing_is_looked_for() -> None:
    made = policies(())
    assert tuple(made) == LABELS == actor.LABELS
    assert made["internal"].idle and not made["internal"].changes
    assert made["phi"].changes and made["phi"].deeds[Kind.MRN] is Deed.REDACT
    assert not made["public"].changes and not made["public"].idle


def test_a_line_is_laid_over_the_defaults_in_order() -> None:
    made = policies(("phi: *=block date=warn", "phi: ssn=allow", "internal: ssn=block"))
    assert made["phi"].deeds[Kind.MRN] is Deed.BLOCK
    assert made["phi"].deeds[Kind.DATE] is Deed.WARN
    assert Kind.SSN not in made["phi"].looking
    assert made["internal"].looking == {Kind.SSN}


def test_a_floor_raises_what_is_milder_and_nothing_else() -> None:
    made = policies(("public: ssn=block name=allow",))
    for label, floor in product(LABELS, FLOORS):
        higher = raised(made[label], floor)
        least = made["education"].deeds if floor != "allow" else dict.fromkeys(Kind, Deed.ALLOW)
        for kind in Kind:
            assert list(Deed).index(higher.deeds[kind]) >= list(Deed).index(made[label].deeds[kind])
            assert list(Deed).index(higher.deeds[kind]) >= list(Deed).index(least[kind])
        assert higher.label == label and (floor != "allow" or higher == made[label])
    assert raised(made["internal"], "redact").deeds == made["education"].deeds
    blocked = {kind for kind, deed in raised(made["internal"], "block").deeds.items() if deed is Deed.BLOCK}
    assert {Kind.EMAIL, Kind.PHONE, Kind.STREET, Kind.STUDENT} <= blocked
    assert not {Kind.DATE, Kind.PLACE, Kind.NAME} & blocked, "or nobody could ask about history"


def test_a_picture_that_cannot_be_redacted_is_refused_instead() -> None:
    assert policies(("phi: *=redact",))["phi"].deeds[Kind.IMAGE] is Deed.BLOCK


@pytest.mark.parametrize(
    "line", ["phi", "secret: *=warn", "phi: mrn", "phi: mrn=hide", "phi: nothing=warn", "phi: =warn"]
)
def test_a_line_that_is_none_is_refused_with_what_to_write(line: str) -> None:
    with pytest.raises(Misasked) as caught:
        policies((line,))
    assert caught.value.code == "bad_setting" and caught.value.hint


def test_each_class_gets_what_its_policy_says() -> None:
    policy = policies(("phi: *=allow mrn=redact date=warn ssn=block",))["phi"]
    marks = Pseudonyms(b"k" * 32, 2026)
    done = treated(TEXT, found(TEXT, policy.looking), policy, marks)
    assert "00482913" not in done.text and "3 March 2024" in done.text
    assert done.counts == {(Kind.MRN, Deed.REDACT): 1, (Kind.DATE, Deed.WARN): 1, (Kind.SSN, Deed.BLOCK): 1}
    assert [TEXT[span.start : span.end] for span in done.blocked] == ["123-45-6789"]
    assert marks.restored(done.text) == TEXT


def test_json_is_looked_at_by_its_values_below_their_names() -> None:
    tree = parsed(
        '{"patient": {"mrn": "00482913", "weights": [70, 71]}, "ssn": 123456789, "note": "born 3 March 2024"}'
    )
    assert tree is not None
    spans = found(tree.flat, frozenset({Kind.MRN, Kind.SSN, Kind.DATE}))
    cut = [None if not inside else f"<{inside[0].kind}>" for _, inside in tree.by_leaf(spans)]
    assert tree.replaced(cut) == {"patient": {"mrn": "<mrn>", "weights": [70, 71]}, "ssn": "<ssn>", "note": "<date>"}
    assert tree.value["ssn"] == 123456789  # what was handed in is as it was


@pytest.mark.parametrize("text", ["no json", "12", '"a"', "[" * 5000 + "]" * 5000, '{"a": '])
def test_what_is_no_json_object_is_no_tree(text: str) -> None:
    assert parsed(text) is None
