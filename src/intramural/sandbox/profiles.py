"""What each kind of confined process may see of the machine, besides the descriptors it is handed."""

from collections.abc import Mapping

from intramural.sandbox.landlock import READ_DIR, READ_FILE
from intramural.sandbox.seccomp import Profile

#: Paths that may be read: an engine counts the processors to lay out its work. Nothing there belongs to anybody.
READABLE: Mapping[Profile, Mapping[str, int]] = {
    "engine": {
        "/proc/cpuinfo": READ_FILE,
        "/proc/meminfo": READ_FILE,
        "/sys/devices/system/cpu": READ_FILE | READ_DIR,
        "/sys/devices/system/node": READ_FILE | READ_DIR,
    },
    "parser": {},
    "broker": {},
}
#: The one that is for connecting stays in the network that there is.
CONNECTS: frozenset[Profile] = frozenset({"broker"})
#: Those that go on for as long as they are wanted, and answer elsewhere than on the pipe of a one-shot child.
LASTING: frozenset[Profile] = frozenset({"engine", "broker"})
