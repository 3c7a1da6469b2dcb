"""Stop strings, looked for in the answer itself: which one ended it is known, and thinking or a call never stops it."""

from collections.abc import Sequence

from intramural.core.chat import ChatEvent, Delta, Finished, TokenLogprob


class StopReader:
    """Ends one choice before the first of `stop`. Feed it the choice's events; `over` says that the rest is nothing.

    Only what might be the beginning of a stop string is held back, by whole deltas, so that each keeps its tokens.
    """

    def __init__(self, stop: Sequence[str]) -> None:
        self.over = False
        self._stop = tuple(stop)
        self._held: list[Delta] = []

    def feed(self, event: ChatEvent) -> list[ChatEvent]:
        """The events that may be shown now."""
        if self.over:
            return []
        if isinstance(event, Delta):
            return self._text(event)
        held, self._held = self._held, []
        return [*held, event]

    def _text(self, event: Delta) -> list[ChatEvent]:
        self._held.append(event)
        text = "".join(each.text for each in self._held)
        found = min(((place, stop) for stop in self._stop if (place := text.find(stop)) >= 0), default=None)
        if found is not None:
            self.over = True
            place, stop = found
            return [*_cut(self._held, place), Finished(event.index, "stop", stop)]
        kept, ready = self._unsure(text), []
        while self._held and len(text) - len(self._held[0].text) >= kept:
            text = text[len(self._held[0].text) :]
            ready.append(self._held.pop(0))
        if not self._held or any(each.logprobs for each in self._held):
            return list(ready)
        # Without tokens to keep together a delta may be shown in part.
        first = self._held[0]
        shown = len(text) - kept
        if shown:
            ready.append(Delta(first.index, text[:shown]))
            self._held = [Delta(first.index, text[shown:])]
        return list(ready)

    def _unsure(self, text: str) -> int:
        """How many last characters of `text` may begin a stop string."""
        sizes = (size for stop in self._stop for size in range(1, len(stop)) if text.endswith(stop[:size]))
        return max(sizes, default=0)


def _cut(deltas: Sequence[Delta], size: int) -> list[ChatEvent]:
    """The first `size` characters, with the tokens that show in them."""
    shown: list[ChatEvent] = []
    for delta in deltas:
        if size <= 0:
            break
        logprobs: tuple[TokenLogprob, ...] = delta.logprobs
        shown.append(Delta(delta.index, delta.text[:size], logprobs))
        size -= len(delta.text)
    return shown
