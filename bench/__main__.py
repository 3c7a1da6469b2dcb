"""`make bench`: every benchmark, or those named as arguments."""

import importlib
import sys
from pathlib import Path

NAMES = sorted(f.stem for f in Path(__file__).parent.glob("*.py") if not f.stem.startswith("_") and f.stem != "table")

if __name__ == "__main__":
    for name in sys.argv[1:] or NAMES:
        importlib.import_module(f"bench.{name}").main()
