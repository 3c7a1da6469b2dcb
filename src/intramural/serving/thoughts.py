"""Thinking that a model writes as plain text, told apart from its answer.

The engine does this for templates that show how their model thinks. A model whose template does not still opens its
answer with `<think>`; here that becomes what it is. Sans-I/O: text in, (is thinking, text) out.
"""

from collections.abc import Iterator

#: How models open and close their thinking.
TAGS = {
    "<think>": "</think>",
    "<thinking>": "</thinking>",
    "<thought>": "</thought>",
    "<reasoning>": "</reasoning>",
    "<seed:think>": "</seed:think>",
    "[THINK]": "[/THINK]",
}


class Thoughts:
    """Splits one answer. Only an answer that *begins* with thinking has any: a later tag is part of the text."""

    def __init__(self) -> None:
        self._held = ""
        self._end: str | None = None
        self._done = False
        self._after = False

    @property
    def over(self) -> bool:
        """Whether all further text is the answer's, as it comes."""
        return self._done and not self._after

    def feed(self, text: str) -> Iterator[tuple[bool, str]]:
        """What is certain now, as (is thinking, text); text is never empty."""
        if self._done:
            if text := self._fresh(text):
                yield False, text
            return
        self._held += text
        if self._end is None:
            begun = self._held.lstrip()
            start = next((start for start in TAGS if begun.startswith(start)), None)
            if start is not None:
                self._end, self._held = TAGS[start], begun[len(start) :].lstrip("\n")
            elif any(start.startswith(begun) for start in TAGS):
                return
            else:
                self._done = True
                yield False, self._release()
                return
        before, found, after = self._held.partition(self._end)
        if found:
            self._done = self._after = True
            self._held = ""
            if before:
                yield True, before
            if text := self._fresh(after):
                yield False, text
            return
        keep = max((n for n in range(1, len(self._end)) if self._held.endswith(self._end[:n])), default=0)
        ready, self._held = self._held[: len(self._held) - keep], self._held[len(self._held) - keep :]
        if ready:
            yield True, ready

    def rest(self) -> Iterator[tuple[bool, str]]:
        """What was held back when the answer ended."""
        if self._held:
            yield self._end is not None, self._release()

    def _release(self) -> str:
        held, self._held = self._held, ""
        return held

    def _fresh(self, text: str) -> str:
        """Answers begin without the empty lines that follow the thinking."""
        if self._after:
            text = text.lstrip("\n")
            self._after = not text
        return text
