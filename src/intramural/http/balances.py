"""How quotas stand, as headers: OpenAI's names for requests and tokens, our own for money.

Of several limits of one kind the one with the least left is told.
"""

import math
from collections.abc import Mapping, Sequence

from intramural.core.errors import QuotaSpent
from intramural.metering import Measure, Standing, shown_amount

_NAMES: Mapping[Measure, str] = {
    "requests": "x-ratelimit-{}-requests",
    "tokens": "x-ratelimit-{}-tokens",
    "seconds": "x-intramural-{}-seconds",
    "money": "x-intramural-{}-money",
}


def headers(standings: Sequence[Standing], now_s: float) -> dict[str, str]:
    """`x-ratelimit-limit-…`, `-remaining-…` and `-reset-…` (until the window ends, as OpenAI writes durations)."""
    found: dict[str, str] = {}
    for measure, name in _NAMES.items():
        of_it = [each for each in standings if each.limit.measure == measure]
        if not of_it:
            continue
        least = min(of_it, key=lambda each: each.remaining)
        found[name.format("limit")] = _text(shown_amount(least.limit.amount, measure))
        found[name.format("remaining")] = _text(shown_amount(least.remaining, measure))
        if least.renews_ms is not None:
            found[name.format("reset")] = duration(least.renews_ms / 1000 - now_s)
    return found


def of_error(error: QuotaSpent) -> dict[str, str]:
    """The same of the quota that refused."""
    name = _NAMES.get(error.quota["measure"])
    if name is None:
        return {}
    return {
        name.format("limit"): _text(error.quota["limit"]),
        name.format("remaining"): _text(error.quota["remaining"]),
        name.format("reset"): duration(error.retry_after_s),
    }


def duration(seconds: float) -> str:
    """`6m0s`, `2h0m1s`, `1s`: whole seconds, rounded up."""
    whole = max(0, math.ceil(seconds))
    hours, minutes = divmod(whole // 60, 60)
    if hours:
        return f"{hours}h{minutes}m{whole % 60}s"
    return f"{minutes}m{whole % 60}s" if minutes else f"{whole}s"


def _text(number: float) -> str:
    return str(number) if isinstance(number, int) else f"{number:.6f}".rstrip("0").rstrip(".")
