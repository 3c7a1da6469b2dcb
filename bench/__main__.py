"""`make bench`: every benchmark, or those named as arguments; all their tables are left on one page, `bench/out/`."""

import importlib
import sys
from pathlib import Path

from bench.table import page

HERE = Path(__file__).parent
NAMES = sorted(file.stem for file in HERE.glob("*.py") if not file.stem.startswith("_") and file.stem != "table")
OUT = HERE / "out" / "figures.md"

if __name__ == "__main__":
    OUT.parent.mkdir(exist_ok=True)
    for name in [each for each in sys.argv[1:] if not each.startswith("-")] or NAMES:
        importlib.import_module(f"bench.{name}").main()
        OUT.write_text(page())  # after each: a run takes long, and may be ended
    print(f"All of it: {OUT}")
