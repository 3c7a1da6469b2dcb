"""`docs/conformance.md`: each dialect's score, every failure with its sentence, every exception with its reason."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from conformance.judge import Result

_HEAD = """# Conformance

Written by `make conformance`: every operation, parameter, answer field, event and error that the official clients
declare, tried against a running service with real weights. Nothing is left out: what the clients declare and the
service lacks is counted as failed, unless it belongs to the vendor's own cloud; then the reason is listed.

*Honoured*: answered, and the effect was seen. *Accepted*: answered; no answer could show an effect. *Refused*: an error
in the dialect's own shape that names the parameter. *Failed*: anything else. *Score*: honoured, accepted and refused
among all that apply. *Answered*: the same without the refusals.

"""


_COLUMNS = (
    "| dialect | read from | cases | honoured | accepted | refused | failed | not applicable | score | answered |\n"
)


def page(results: Sequence[Result], versions: dict[str, str]) -> str:
    """The page."""
    lines = [_HEAD + _COLUMNS + "|---" * 10 + "|"]
    for dialect in dict.fromkeys(result.dialect for result in results):
        lines.append(_row(dialect, versions.get(dialect, ""), [r for r in results if r.dialect == dialect]))
    for dialect in dict.fromkeys(result.dialect for result in results):
        lines += _chapter(dialect, [r for r in results if r.dialect == dialect])
    return "\n".join(lines) + "\n"


def _row(dialect: str, version: str, results: Sequence[Result]) -> str:
    count = Counter(result.verdict for result in results)
    applying = len(results) - count["not applicable"]
    good = count["honoured"] + count["accepted"]
    score, answered = (f"{100 * part / max(1, applying):.1f} %" for part in (good + count["refused"], good))
    cells = [dialect, version, len(results), count["honoured"], count["accepted"], count["refused"], count["failed"],
             count["not applicable"], score, answered]  # fmt: skip
    return "| " + " | ".join(map(str, cells)) + " |"


def _chapter(dialect: str, results: Sequence[Result]) -> Iterable[str]:
    yield f"\n## {dialect}\n"
    yield "| what | honoured | accepted | refused | failed | not applicable |\n|---|---|---|---|---|---|"
    for kind in ("operation", "scenario", "field", "answer field", "event", "error"):
        count = Counter(result.verdict for result in results if result.kind == kind)
        cells = [kind, *(count[v] for v in ("honoured", "accepted", "refused", "failed", "not applicable"))]
        yield "| " + " | ".join(map(str, cells)) + " |"
    yield f"\n### Failed\n\n{_listed(results, 'failed')}"
    yield f"\n### Refused by name\n\n{_listed(results, 'refused', with_reason=False)}"
    yield f"\n### Not applicable\n\n{_listed(results, 'not applicable')}"


def _listed(results: Sequence[Result], verdict: str, *, with_reason: bool = True) -> str:
    """Cases grouped by operation and reason."""
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for result in results:
        if result.verdict == verdict:
            groups[(result.operation, result.reason if with_reason else "")].append(result.case or result.kind)
    if not groups:
        return "Nothing."
    lines = []
    for (operation, reason), cases in groups.items():
        shown = ", ".join(f"`{case}`" for case in cases)
        lines.append(f"- `{operation}` {shown}{': ' + _safe(reason) if reason else ''}")
    return "\n".join(lines)


def _safe(text: str) -> str:
    return text.replace("\n", " ").replace("|", "\\|").replace("<", "&lt;")
