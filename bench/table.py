"""One table per benchmark."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table


def show(title: str, note: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table with what it compares below it."""
    table = Table(title=title, caption=note, title_justify="left", caption_justify="left")
    for i, column in enumerate(columns):
        table.add_column(column, justify="left" if i == 0 else "right")
    for row in rows:
        table.add_row(*row)
    Console(width=120).print(table)
