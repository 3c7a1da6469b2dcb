"""The only room that starts a process.

Promises: what runs in a child runs behind an empty network namespace, Landlock and seccomp, each tested alone, as a
user of its own where we are root, with no capability, no new privilege, bounded resources, and only the descriptors it
was handed; it dies with its parent; a layer that cannot be put in place ends the child, never the layer. The service
gives up what it does not need before it reads anything from outside: from then on its spawner starts its children.
Never: runs a shell, passes on the environment, knows what a model is.
Not protected against: bugs of the kernel itself, what processors leak through timing, and how much of its own share of
processor and memory a child uses up. A worker's own request data is inside the worker.

Read in this order: `profiles`, `launch`, `starting`, `children`, `child`, then the layers `identity`, `landlock`,
`seccomp` and `told`; `hearing`; `spawner` and `spawning`; `machine`, `seal`; `readback`, `network`, `packetfilter`,
`walls`; `control`; `posture`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from intramural.sandbox.children import Child, run_once, spawn
    from intramural.sandbox.launch import Launch, Limits
    from intramural.sandbox.posture import Level, Posture, allows, missing_layers, probe

#: What others use, and where it is. Looked up when it is asked for: a child that is to be confined, and the spawner,
#: import what they need of this room and not an event loop with it (60 of 90 ms).
_WHERE = {
    "Child": "children",
    "Launch": "launch",
    "Level": "posture",
    "Limits": "launch",
    "Posture": "posture",
    "allows": "posture",
    "missing_layers": "posture",
    "probe": "posture",
    "run_once": "children",
    "spawn": "children",
}

__all__ = ["Child", "Launch", "Level", "Limits", "Posture", "allows", "missing_layers", "probe", "run_once", "spawn"]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
