"""The service that is measured: the real program, with the real engine or with the stand-in of the tests.

    python -m bench._service serve --json      (is `intramural serve` with the stand-in)

The stand-in costs next to nothing and writes at a steady rate, so that on a machine that others use the service can be
asked often; what it says of the engine is nothing. It runs unconfined, and so does the service, because a sealed one
starts nothing but its own workers: it is for measuring only.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.conftest import ROOT, STARTER_WHEEL
from tests.service import Service

from bench._samples import Sampler

#: Which stand-in, and how many tokens a second it writes, from the environment.
_STAND_IN, _RATE = "BENCH_STAND_IN", "BENCH_TOKENS_PER_S"
_SAMPLES = "BENCH_SAMPLES"


@contextmanager
def running(
    *,
    stand_in_tokens_per_s: float | None = None,
    stand_in: str = "tests.fakes.engine",
    tree: Path | None = None,
    samples: Path | None = None,
    **settings: str,
) -> Iterator[Service]:
    """A service with the starter model loaded and its administrator set up; `settings`: names in capitals.

    `tree`: another work tree, whose product it is. `samples`: where `bench._samples` leaves what it found of it.
    """
    wheels = Path(os.environ.get("INTRAMURAL_TEST_WHEELS") or ROOT / ".cache/wheels").absolute()
    named = {"INTRAMURAL_ATTEST_EVERY_HOURS": "0"}  # nothing is read and hashed in the middle of a measurement
    named |= {f"INTRAMURAL_{name}": value for name, value in settings.items()}
    if tree is not None:
        named["PYTHONPATH"] = str(tree.absolute() / "src")
    if samples is not None:
        named[_SAMPLES] = str(samples)
    module = "intramural"
    if stand_in_tokens_per_s is not None:
        module, named[_RATE], named[_STAND_IN] = "bench._service", str(stand_in_tokens_per_s), stand_in
        named["INTRAMURAL_SANDBOX_SEAL"] = "off"  # sealed, it could not start the stand-in, which is nobody's child
    with (
        TemporaryDirectory() as folder,
        Service(Path(folder) / "data", wheels / STARTER_WHEEL, named, module=module, afresh=True).running() as service,
    ):
        yield service


def main() -> None:
    from tests.fakes.spawner import PlainSpawner

    from intramural.app import house
    from intramural.cli import main as program

    if to := os.environ.get(_SAMPLES):
        Sampler(Path(to))
    spawner = PlainSpawner(per_start=[("--tokens-per-s", os.environ[_RATE])], stand_in=os.environ[_STAND_IN])
    house.SandboxedSpawner = lambda *_, **__: spawner  # nothing in the product can be told to
    program()


if __name__ == "__main__":
    sys.argv[0] = "intramural"
    main()
