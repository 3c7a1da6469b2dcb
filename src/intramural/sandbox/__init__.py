"""The only room that starts a process.

Promises: what runs in a child runs behind an empty network namespace, Landlock and seccomp, each tested alone, as a
user of its own where we are root, with no capability, no new privilege, bounded resources, and only the descriptors it
was handed; it dies with its parent; a layer that cannot be put in place ends the child, never the layer.
Never: runs a shell, passes on the environment, knows what a model is.
Not protected against: bugs of the kernel itself, what processors leak through timing, and how much of its own share of
processor and memory a child uses up. A worker's own request data is inside the worker.

Read in this order: `profiles`, `spawn`, `child`, then the layers `identity`, `landlock`, `seccomp`; `posture`.
"""

from intramural.sandbox.posture import Level, Posture, allows, missing_layers, probe
from intramural.sandbox.spawn import Child, Launch, Limits, run_once, spawn

__all__ = ["Child", "Launch", "Level", "Limits", "Posture", "allows", "missing_layers", "probe", "run_once", "spawn"]
