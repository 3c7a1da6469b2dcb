"""One table per benchmark: printed when it is there, and kept, so that a run leaves one page."""

import os
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from rich.console import Console
from rich.table import Table

_shown: list[str] = []


def show(title: str, note: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table with what it compares below it."""
    table = Table(title=title, caption=note, title_justify="left", caption_justify="left")
    for i, column in enumerate(columns):
        table.add_column(column, justify="left" if i == 0 else "right")
    for row in rows:
        table.add_row(*row)
    Console(width=120).print(table)
    ruler = "|".join(["---", *("--:" for _ in columns[1:])])
    lines = [" | ".join(columns), ruler, *(" | ".join(row) for row in rows)]
    _shown.append("\n".join([f"## {title}", "", *(f"|{line}|" for line in lines), "", note]))


def page() -> str:
    """Everything shown so far, below what it was measured on: Markdown."""
    model = next(
        (line for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), "?: unknown"
    )
    memory_gib = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    machine = (
        f"{len(os.sched_getaffinity(0))} processors ({model.partition(':')[2].strip()}), {memory_gib:.0f} GiB, "
        f"{platform.system()} {platform.release()}, load at the end {load}"
    )
    versions = ", ".join(f"{name} {version(name)}" for name in ("intramural", "xllamacpp", "uvicorn", "sqlalchemy"))
    head = ["# Figures", "", f"- {machine}", f"- Python {platform.python_version()}, {versions}"]
    return "\n".join([*head, "", "\n\n".join(_shown), ""])
