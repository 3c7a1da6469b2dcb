"""Output in three forms: rich for people, quiet for pipes, JSON for programs."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec
from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table
from rich.text import Text

from intramural.core.errors import Flawed, IntramuralError

Mode = Literal["rich", "quiet", "json"]


class Out:
    """Where a command's results go. Results go to stdout, everything else to stderr."""

    def __init__(self, mode: Mode) -> None:
        self.mode = mode
        self._console = Console(highlight=False)
        self._err = Console(stderr=True, highlight=False)

    def table(self, rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> None:
        """Rows as a table; `columns` maps field → heading. Quiet prints the first column only; JSON whole rows."""
        if self.mode == "json":
            self._json(list(rows))
        elif self.mode == "quiet":
            for row in rows:
                print(plain(row.get(next(iter(columns)))))
        else:
            table = Table(box=None, header_style="bold", pad_edge=False)
            for heading in columns.values():
                table.add_column(
                    heading, no_wrap=not table.columns
                )  # the first is what is copied into the next command
            for row in rows:
                table.add_row(*(Text(plain(row.get(field))) for field in columns))
            self._console.print(table)
            if not rows:
                self.note("None.")

    def record(self, record: Mapping[str, Any], *, main: str | None = None) -> None:
        """One thing with its fields; quiet prints only the field `main`."""
        if self.mode == "json":
            self._json(record)
        elif self.mode == "quiet":
            print(plain(record.get(main)) if main else "ok")
        else:
            width = max(map(len, record), default=0)
            for field, value in record.items():
                # a long line stays whole: it is what is copied
                shown = Text(f"{field:<{width}}  ", style="bold") + Text(_lines(value, width + 2))
                self._console.print(shown, soft_wrap=True)

    def text(self, text: str) -> None:
        """Part of an answer, as it comes (rich and quiet)."""
        if self.mode != "json":
            sys.stdout.write(text)
            sys.stdout.flush()

    def note(self, text: str) -> None:
        """Something to know on the way; only for people."""
        if self.mode == "rich":
            self._err.print(Text(text, style="dim"))

    def warn(self, message: str, hint: str) -> None:
        """Something that was done, but not as hoped; on stderr in every mode."""
        self._err.print(Text("warning: ", style="bold yellow") + Text(f"{plain(message)} {plain(hint)}"))

    def show(self, picture: RenderableType) -> None:
        """A picture that somebody composed; only for people."""
        if self.mode == "rich":
            self._console.print(picture)

    def json(self, value: Any) -> None:
        """A whole result, in JSON mode."""
        if self.mode == "json":
            self._json(value)

    def progress(self) -> Progress:
        """A bar in bytes, on stderr; silent unless rich."""
        return Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=self._err,
            disable=self.mode != "rich",
        )

    def steps(self) -> Progress:
        """A bar in things done, on stderr; silent unless rich."""
        return Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=self._err,
            disable=self.mode != "rich",
        )

    def _json(self, value: Any) -> None:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n")

    @staticmethod
    def report(error: IntramuralError) -> None:
        """An error on stderr: what happened, then what to try."""
        console = Console(stderr=True, highlight=False)
        console.print(Text("error: ", style="bold red") + Text(error.message) + Text(f"  [{error.code}]", style="dim"))
        if isinstance(error, Flawed):
            for each in error.problems:
                where = f"{plain(each.get('file'))}:{plain(each.get('line'))}"
                console.print(Text(f"  {where}  {plain(each.get('message'))}  [{plain(each.get('code'))}]"))
        if error.hint:
            console.print(Text(error.hint))


def _lines(value: Any, indent: int) -> str:
    """As `plain`; a text of several lines keeps them, each under the first."""
    lines = value.strip("\n").split("\n") if isinstance(value, str) else [value]
    return ("\n" + " " * indent).join(map(plain, lines))


def plain(value: Any) -> str:
    """A value on one line, without control characters that could play with the terminal."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.1f}"
    if isinstance(value, list | tuple):
        return ", ".join(map(plain, value)) or "-"
    return "".join(c if c.isprintable() else "\ufffd" for c in str(value))


def size(size_bytes: int) -> str:
    """Bytes for people: `98.4 MB` (decimal units, as disks are sold)."""
    value = float(size_bytes)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 1000 or unit == "TB":
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    raise AssertionError
