"""`make simulate`: a thousand seeds over all cores; `make simulate SEED=n`: one, with its trace.

    python -m simulate [--seeds 1000] [--from 0] [--seed N] [--twice-every 10]

Ends with 1 where a seed found something, or where the same seed twice was not the same.
"""

import argparse
import os
import sys
import time
from collections import Counter
from functools import partial
from multiprocessing import get_context

from simulate.run import Verdict, checked, run

#: Between two lines of progress.
_TOLD_EVERY_S = 10.0


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m simulate", description="Simulate the service, seed by seed.")
    parser.add_argument("--seeds", type=int, default=1000, help="how many")
    parser.add_argument("--from", type=int, default=0, dest="first", help="the first of them")
    parser.add_argument("--seed", type=int, help="this one alone, with its trace")
    parser.add_argument("--twice-every", type=int, default=10, help="run one in so many twice, and compare")
    wanted = parser.parse_args(arguments)
    if wanted.seed is not None:
        return _one(wanted.seed)
    return _many(range(wanted.first, wanted.first + wanted.seeds), wanted.twice_every)


def _one(seed: int) -> int:
    verdict = run(seed)
    print("\n".join(verdict.trace))
    print(f"\nseed {seed}: {_summary([verdict])}; trace {verdict.digest[:16]}")
    for what in verdict.wrong:
        print(f"  WRONG: {what}")
    return 1 if verdict.wrong else 0


def _many(seeds: range, twice_every: int) -> int:
    began_s = told_s = time.monotonic()
    found: list[Verdict] = []
    work = partial(checked, twice_every=twice_every)
    # A fresh process now and then: what a hundred services leave in a process is of no interest.
    with get_context("spawn").Pool(len(os.sched_getaffinity(0)), maxtasksperchild=50) as workers:
        for verdict in workers.imap_unordered(work, seeds):
            found.append(verdict)
            if verdict.wrong:
                print(f"seed {verdict.seed}, again with `make simulate SEED={verdict.seed}`:", flush=True)
                for what in verdict.wrong:
                    print(f"  WRONG: {what}", flush=True)
            if time.monotonic() - told_s > _TOLD_EVERY_S:
                told_s = time.monotonic()
                print(f"{len(found)} of {len(seeds)} seeds in {told_s - began_s:.0f} s", flush=True)
    wrong = sorted(each.seed for each in found if each.wrong)
    print(f"{len(found)} seeds in {time.monotonic() - began_s:.0f} s: {_summary(found)}")
    print(f"wrong: {wrong}" if wrong else "nothing wrong")
    return 1 if wrong else 0


def _summary(found: list[Verdict]) -> str:
    outcomes = sum((Counter(each.outcomes) for each in found), Counter())
    lives, kills, requests, steps = (
        sum(getattr(each, name) for each in found) for name in ("lives", "kills", "requests", "steps")
    )
    listed = ", ".join(f"{name} {number}" for name, number in outcomes.most_common())
    return f"{lives} lives, {kills} kills, {requests} requests ({listed}), {steps} steps"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
