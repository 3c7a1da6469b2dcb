"""The moment when a model is at work: what is to be done then is done once, whenever it came to be wished for."""

from intramural.serving.answer import UnderWay


def test_what_is_wished_for_before_is_done_at_the_moment_and_once() -> None:
    moment, done = UnderWay(), []
    moment.then(lambda: done.append(1))
    moment.then(lambda: done.append(2))
    assert done == []
    moment.set()
    moment.set()
    assert done == [1, 2]


def test_what_is_wished_for_afterwards_is_done_at_once() -> None:
    moment, done = UnderWay(), []
    moment.set()
    moment.then(lambda: done.append(1))
    assert done == [1]
