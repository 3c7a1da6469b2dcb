"""Titles and snippets. Pure."""

TITLE_WORDS = 6
TITLE_CHARS = 60
_SNIPPET_BEFORE = 30
_SNIPPET_CHARS = 120


def auto_title(question: str) -> str:
    """A title from the first message: its first words, without a model. Empty for a message without any."""
    words = question.split(maxsplit=TITLE_WORDS)
    title = " ".join(words[:TITLE_WORDS]).lstrip("#>*-` ")
    cut = len(words) > TITLE_WORDS or len(title) > TITLE_CHARS
    return title[:TITLE_CHARS].rstrip(" ,;:") + ("…" if cut else "")


def snippet(content: str, query: str) -> str | None:
    """Part of `content` around the first place where it holds `query`, whatever the case of either; None if nowhere."""
    at = content.casefold().find(query.casefold())
    if at < 0:
        return None
    start = max(_unfolded(content, at) - _SNIPPET_BEFORE, 0)
    end = start + _SNIPPET_CHARS
    middle = " ".join(content[start:end].split())
    return ("…" if start > 0 else "") + middle + ("…" if end < len(content) else "")


def _unfolded(content: str, at: int) -> int:
    """The place in `content` that place `at` of its casefold comes from: folding makes some characters two (ß)."""
    folded = 0
    for place, char in enumerate(content):
        folded += len(char.casefold())
        if folded > at:
            return place
    return len(content)
