"""CSV, read strictly: UTF-8, one header, every line as long as it, and no character that plays with whoever looks."""

import csv
import io
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

from intramural.access.rosters.roster import Problems

#: Longer than any name, identifier or list of them; checked before anything else looks at it.
MAX_FIELD_CHARS = 4096
MAX_ROWS = 500_000
MAX_COLUMNS = 200
#: A spreadsheet takes what begins so for a formula, and runs it for whoever opens an export.
_FORMULA = ("=", "+", "-", "@")


@dataclass(frozen=True, slots=True)
class Line:
    """One row: where it ends in the file (from 1), and its values by column."""

    number: int
    values: dict[str, str]


class Table:
    """One CSV file. `read` it once; every mistake goes into `problems`."""

    def __init__(self, name: str, data: bytes, problems: Problems) -> None:
        self.name = name
        self._problems = problems
        self._text = self._decoded(data)
        self.columns: tuple[str, ...] = ()

    def wrong(self, line: int, code: str, message: str) -> None:
        """Something is wrong with a line of this file."""
        self._problems.add(self.name, line, code, message)

    def lines(self, used: Collection[str], needed: Collection[str]) -> Iterator[Line]:
        """Its rows, without those that are wrong. Only the columns `used` are held to the rules of what is taken in;
        each of `needed` must be there."""
        if self._text is None:
            return
        reader = csv.reader(io.StringIO(self._text, newline=""), strict=True, delimiter=_delimiter(self._text))
        try:
            header = next(reader, None)
            if not self._headed(header, needed):
                return
            for count, row in enumerate(reader):
                if count >= MAX_ROWS:
                    self.wrong(reader.line_num, "too_many_lines", f"There are over {MAX_ROWS} lines.")
                    return
                if row and (line := self._line(reader.line_num, row, used)) is not None:
                    yield line
        except csv.Error as error:
            # strict: a quote that is never closed, text after one, a field over 128 KiB
            self.wrong(reader.line_num, "bad_csv", f"This is no CSV: {error}.")

    def _decoded(self, data: bytes) -> str | None:
        if data.startswith((b"\xff\xfe", b"\xfe\xff")):
            self.wrong(1, "wrong_encoding", "The file is UTF-16; save it as UTF-8.")
            return None
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            self.wrong(line, "wrong_encoding", f"Byte {data[error.start]:#04x} is not UTF-8; save the file as UTF-8.")
            return None
        if "\0" in text:
            self.wrong(text.count("\n", 0, text.index("\0")) + 1, "wrong_encoding", "There is a NUL in the file.")
            return None
        return text

    def _headed(self, header: Sequence[str] | None, needed: Collection[str]) -> bool:
        if not header or not any(header):
            self.wrong(1, "no_header", "The file has no line with the columns' names.")
            return False
        self.columns = tuple(each.strip() for each in header)
        if len(self.columns) > MAX_COLUMNS or len(set(self.columns)) < len(self.columns):
            self.wrong(1, "bad_header", "A column is there twice, or there are too many.")
            return False
        missing = [each for each in needed if each not in self.columns]
        if missing:
            self.wrong(1, "missing_column", f"There is no column {missing[0]!r}.")
        return not missing

    def _line(self, number: int, row: Sequence[str], used: Collection[str]) -> Line | None:
        if len(row) != len(self.columns):
            self.wrong(number, "wrong_length", f"There are {len(row)} values for {len(self.columns)} columns.")
            return None
        values = {}
        for column, value in zip(self.columns, row, strict=True):
            if len(value) > MAX_FIELD_CHARS:
                self.wrong(number, "field_too_long", f"{column!r} has over {MAX_FIELD_CHARS} characters.")
                return None
            if column in used:
                values[column] = value.strip(" ")
                if found := unfit(values[column]):
                    self.wrong(number, *found(column))
                    return None
        return Line(number, values)


def unfit(value: str) -> Callable[[str], tuple[str, str]] | None:
    """What is wrong with a value that is to be taken in, as code and words for a column's name; None: nothing."""
    if not value.isprintable():  # control characters, also quoted ends of lines, and those that turn the writing
        bad = next(each for each in value if not each.isprintable())
        return lambda column: ("bad_character", f"{column!r} holds the character U+{ord(bad):04X}.")
    if value.startswith(_FORMULA):
        return lambda column: (
            "formula",
            f"{column!r} begins with {value[0]!r}, which spreadsheets take for a formula.",
        )
    return None


def _delimiter(text: str) -> str:
    """Spreadsheets of half of Europe part values by semicolons."""
    header = text.partition("\n")[0]
    return ";" if ";" in header and "," not in header else ","
