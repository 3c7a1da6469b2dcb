"""Which worker answers, when, and what it says.

Promises: workers never plan for more memory than the budget; a slot never serves two; every request ends exactly once;
a client that leaves frees its slot; usage is the engine's own count on every ending; tool calls fit their schema.
Never: opens a path of its own accord, decides who may ask, keeps a word of a prompt or an answer.

Read in this order: `model` and `options` (what is served, and how), `fairness` and `eviction` (pure: whose turn, and
who makes room), `scheduler` (pure: which worker, when), `pool` (the run loop), `lease` (a slot, while something is
asked), `owned` (in whose name), `worker` and `exchange` (one process, one request), `traits` (what a loaded model can
do), `request` and `stream` (our form to the engine's and back), `thoughts` and `stops` (thinking and ends within a
text), `answer` (one generation), `onward` (what pauses, and goes on), `supported`, `schema`, `fits` and `formatted`
(answers held to a schema: which, asked how, judged, on their way out), `tools` and `jsontext` (tool calls by schema),
`vectors` (vectors, ranks, tokens), `marks` and `slots` (pure: which slot, and whose state is in it), `states` and
`warmth` (states on the disk, and back), `ends` (what a worker's end says of its weights), `tally` (what became of
workers), `threads` and `adapting` (who computes on how many cores), `builds` (which build computes), `sandboxed`,
`engine` and `onnx` (the other side of starting a confined worker), and `remote` (engines on other machines).
"""

from intramural.serving.answer import Stream
from intramural.serving.builds import (
    EMBEDDED,
    FLOOR,
    Standing,
    installed,
    require_build,
    require_intact,
    standing_of,
)
from intramural.serving.fairness import Owner
from intramural.serving.model import ModelToServe, OpenFile, Plan, Pooling, ServingPlan
from intramural.serving.options import ANY_MODEL, EngineOptions, as_text, options_for, parse_options
from intramural.serving.owned import Repeated, WaitNote
from intramural.serving.pool import Pool, PoolStatus, WorkerStatus
from intramural.serving.remote.worker import NOT_CONFINED, RemoteSpawner
from intramural.serving.sandboxed import SandboxedSpawner, sweep
from intramural.serving.scheduler import CRASH_WINDOW_S, Quarantine
from intramural.serving.states import States
from intramural.serving.tally import Ending, Tally
from intramural.serving.threads import Compute
from intramural.serving.vectors import Token
from intramural.serving.warmth import Warmth, buffer_size, engine_name
from intramural.serving.worker import EngineProcess, Spawner, WorkerProcess

__all__ = [
    "ANY_MODEL",
    "CRASH_WINDOW_S",
    "EMBEDDED",
    "FLOOR",
    "NOT_CONFINED",
    "Compute",
    "Ending",
    "EngineOptions",
    "EngineProcess",
    "ModelToServe",
    "OpenFile",
    "Owner",
    "Plan",
    "Pool",
    "PoolStatus",
    "Pooling",
    "Quarantine",
    "RemoteSpawner",
    "Repeated",
    "SandboxedSpawner",
    "ServingPlan",
    "Spawner",
    "Standing",
    "States",
    "Stream",
    "Tally",
    "Token",
    "WaitNote",
    "Warmth",
    "WorkerProcess",
    "WorkerStatus",
    "as_text",
    "buffer_size",
    "engine_name",
    "installed",
    "options_for",
    "parse_options",
    "require_build",
    "require_intact",
    "standing_of",
    "sweep",
]
