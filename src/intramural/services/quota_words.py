"""What a quota says of itself: one sentence for people, the same as fields for programs. Pure."""

from datetime import UTC, datetime
from typing import Any

from intramural.metering import Limit, Refusal, Standing, shown_amount, zone_of

_PERIODS = {"now": "at any moment", "minute": "a minute", "hour": "an hour", "day": "a day", "month": "a month"}
_MEASURES = {
    "requests": "requests",
    "tokens": "tokens",
    "seconds": "seconds of engine time",
    "streams": "answers at a time",
    "storage_bytes": "stored bytes",
}


def refused(refusal: Refusal, zone: str, currency: str, *, cut: bool = False) -> tuple[str, str]:
    """What happened, naming the rule, the limit and what remains; and what to do, with the moment when it renews."""
    standing = refusal.standing
    limit = standing.limit
    remains = _number(standing.remaining, limit, currency)
    wanted = _number(refusal.wanted, limit, currency)
    rule = f"At most {describe(limit, currency)} ({limit.id})"
    if cut:
        return f"{rule}; {remains} remain, and the answer was cut there.", _renewal(standing, zone)
    if refusal.retry_s is None:
        hint = "Ask for a shorter answer, send less, or ask an administrator for a larger quota."
        return f"{rule}; this request alone may use {wanted}.", hint
    message = f"{rule}; {remains} remain, and this request may use {wanted}."
    if standing.renews_ms is None or standing.used + refusal.wanted <= limit.amount:
        return message, "Answers under way hold the rest: try again when they have ended, or ask for less."
    return message, _renewal(standing, zone)


def describe(limit: Limit, currency: str) -> str:
    """`1,000 tokens a day for each person`."""
    unit = currency if limit.measure == "money" else _MEASURES[limit.measure]
    period = "" if limit.measure == "streams" else " " + _PERIODS[limit.period]
    model = f" with {limit.model}" if limit.model else ""
    return f"{_number(limit.amount, limit, currency)} {unit}{period}{model} {_whom(limit)}"


def told(standing: Standing, currency: str) -> dict[str, Any]:
    """The fields. Amounts are in what people write: seconds, or whole currency."""
    limit = standing.limit
    return {
        "id": limit.id,
        "subject": limit.subject,
        "subject_id": limit.subject_id,
        "each": limit.each,
        "model": limit.model,
        "measure": limit.measure,
        "unit": currency if limit.measure == "money" else limit.measure,
        "period": limit.period,
        "limit": shown_amount(limit.amount, limit.measure),
        "used": shown_amount(standing.used, limit.measure),
        "held": shown_amount(standing.held, limit.measure),
        "remaining": shown_amount(standing.remaining, limit.measure),
        "renews_ms": standing.renews_ms,
    }


def _number(amount: int, limit: Limit, currency: str) -> str:
    number = shown_amount(amount, limit.measure)
    if isinstance(number, int):
        return f"{number:,}"
    return f"{number:,.6f}".rstrip("0").rstrip(".")


def _whom(limit: Limit) -> str:
    if limit.subject == "everyone":
        return "for each person" if limit.each else "for everybody together"
    if limit.subject == "person":
        return "for you"
    if limit.subject == "key":
        return "for this key"
    return f"for {'each of ' if limit.each else ''}the {limit.subject} {limit.subject_id}"


def _renewal(standing: Standing, zone: str) -> str:
    if standing.renews_ms is None:
        return "Ask an administrator for a larger quota."
    at = datetime.fromtimestamp(standing.renews_ms / 1000, UTC).astimezone(zone_of(zone))
    return f"It renews at {at:%Y-%m-%d %H:%M:%S} ({zone}); an administrator can raise it."
