"""Reports made of the log: `intramural report …`, and `intramural audit export`."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from intramural.cli.organisation import found_person
from intramural.cli.root import DEFAULT, PAGE, Common, audit, report
from intramural.core.clock import SystemClock
from intramural.core.errors import Misasked

if TYPE_CHECKING:
    from intramural.cli.client import Client

_From = Annotated[str | None, Parameter(name="--from", help="First day, `2026-01-31`.")]
_To = Annotated[str | None, Parameter(name="--to", help="Day after the last, `2026-02-28`. Default: now.")]


@report.command(name="hipaa-activity-review")
def activity_review(
    *,
    start: _From = None,
    end: _To = None,
    sign_off: Annotated[str | None, Parameter(help="Sign that you have reviewed the period, with this note.")] = None,
    common: Common = DEFAULT,
) -> None:
    """What an activity review looks at: failed sign-ins, refusals, emergency access, bulk reads, odd hours, exports.

    Of the last 30 days unless --from is given.
    """
    period = _period(start, end, days=30)

    async def act(client: "Client") -> None:
        path = f"{PAGE}/reports/hipaa-activity-review"
        if sign_off is not None:
            common.out.record(await client.post(f"{path}/sign-off", {**period, "note": sign_off}), main="position")
            return
        common.out.record(await client.get(path, **period), main="entries")

    common.ask(act)


@report.command(name="ferpa-99.32")
def disclosures(*, student: str, common: Common = DEFAULT) -> None:
    """Every access to one student's records that is in the log; what needs no entry by 34 CFR 99.32 is marked.

    Parameters
    ----------
    student
        Their user name.
    """

    async def act(client: "Client") -> None:
        found = await client.get(f"{PAGE}/reports/ferpa-99.32/{(await found_person(client, student))['id']}")
        common.out.record(found, main="to_be_recorded")

    common.ask(act)


@report.command(name="ai-act")
def system_record(*, system: str, start: _From = None, end: _To = None, common: Common = DEFAULT) -> None:
    """What made each output of the model SYSTEM, of what input, under whose oversight, and how long that is kept.

    Parameters
    ----------
    system
        The model's name.
    """
    period = _period(start, end, days=31)

    async def act(client: "Client") -> None:
        common.out.record(await client.get(f"{PAGE}/reports/ai-act", system=system, **period), main="system")

    common.ask(act)


@audit.command(name="export")
def export_log(
    out: Path,
    *,
    form: Literal["ocsf", "fhir", "jsonl"] = "jsonl",
    start: _From = None,
    end: _To = None,
    common: Common = DEFAULT,
) -> None:
    """Write the log into the file OUT as lines of JSON: OCSF events, FHIR R4 AuditEvents, or plainly.

    Parameters
    ----------
    form
        For a SIEM, for a hospital's system, or plain.
    """
    period = _period(start, end, days=None)

    async def act(client: "Client") -> None:
        query = [("form", form), *((name, str(value)) for name, value in period.items())]
        text = await client.text(f"{PAGE}/audit/export", query)
        out.write_text(text, "utf-8")
        common.out.record({"written": str(out), "entries": text.count("\n")}, main="entries")

    common.ask(act)


def _period(start: str | None, end: str | None, *, days: int | None) -> dict[str, int]:
    """In this machine's time zone."""
    try:
        now = datetime.fromtimestamp(SystemClock().now_s())
        last = (datetime.fromisoformat(end) if end else now).astimezone()
        if start:
            first = datetime.fromisoformat(start).astimezone()
        else:
            first = datetime.fromtimestamp(0).astimezone() if days is None else last - timedelta(days)
    except ValueError as error:
        raise Misasked("bad_period", f"That is no day: {error}.", "Write it as 2026-01-31.") from None
    return {"from_ms": int(first.timestamp() * 1000), "to_ms": int(last.timestamp() * 1000)}
