"""What comes of each attempt: recorded, compared with what happens, and printed into docs/security.md.

Columns: `nothing` (no confinement), `user` (another user where the service is root, no capability, no new privilege,
limits; none of the three layers), each layer alone on top of that, and `all`. A letter a column: `w` works,
`r` refused. Two words: the service started as root, and as an ordinary user.
"""

from collections.abc import Mapping

COLUMNS = ("nothing", "user", "netns", "landlock", "seccomp", "all")

#: attempt → (service started as root, service started as an ordinary user), a letter for each of COLUMNS
EXPECTED: Mapping[str, tuple[str, str]] = {
    "read /etc/passwd": ("wwwrwr", "wwwrwr"),
    "read another model": ("wwwrwr", "wwwrwr"),
    "list /": ("wwwrwr", "wwwrwr"),
    "list the processes": ("wwwrwr", "wwwrwr"),
    "read its own environment in /proc": ("wrrrrr", "wrrrrr"),
    "open its own memory in /proc": ("wrrrrr", "wrrrrr"),
    "read the parent's command line": ("wwwrwr", "wwwrwr"),
    "see that a file exists, and its size": ("wwwwww", "wwwwww"),
    "make a file": ("wwwrrr", "wwwrrr"),
    "make a file in /tmp": ("wwwrrr", "wwwrrr"),
    "make a file in its private directory": ("wwwrrr", "wwwrrr"),
    "make a file without a name": ("wwwrrr", "wwwrrr"),
    "write into a file open to all": ("wrrrrr", "wrrrrr"),
    "truncate a file open to all": ("wwwrrr", "wwwrrr"),
    "truncate a file by opening it": ("wwwrrr", "wwwrrr"),
    "open the model again for writing": ("wrrrrr", "rrrrrr"),
    "truncate the model": ("wrrrrr", "rrrrrr"),
    "change the model's mode": ("wrrrrr", "wwwwrr"),
    "change the model's mode by descriptor": ("wrrrrr", "wwwwrr"),
    "change the model's times": ("wrrrrr", "wwwwrr"),
    "make a directory": ("wwwrrr", "wwwrrr"),
    "make a symbolic link": ("wwwrrr", "wwwrrr"),
    "rename a file": ("wwwrrr", "wwwrrr"),
    "remove a file": ("wwwrrr", "wwwrrr"),
    "TCP to the host, IPv4": ("wwrrrr", "wwrrrr"),
    "TCP to the host, IPv6": ("wwrrrr", "wwrrrr"),
    "listen on TCP": ("wwwrrr", "wwwrrr"),
    "UDP to the host": ("wwrwrr", "wwrwrr"),
    "look up a name": ("wwwrwr", "wwwrwr"),
    "netlink socket": ("wwwwrr", "wwwwrr"),
    "raw socket": ("wrrrrr", "rrrrrr"),
    "packet socket": ("wrrrrr", "rrrrrr"),
    "vsock socket": ("wwwwrr", "wwwwrr"),
    "Unix datagram socket": ("wwwwrr", "wwwwrr"),
    "datagram pair, sendmsg to a host's Unix socket": ("wwwwrr", "wwwwrr"),
    "connect to a host's Unix socket": ("wwwwrr", "wwwwrr"),
    "connect to a host's abstract Unix socket": ("wwrrrr", "wwrrrr"),
    "Unix socket outside the private directory": ("wwwrrr", "wwwrrr"),
    "io_uring": ("wwwwrr", "wwwwrr"),
    "execve": ("wwwrrr", "wwwrrr"),
    "fork": ("wwwwrr", "wwwwrr"),
    "clone without the thread flag": ("wwwwrr", "wwwwrr"),
    "clone3": ("wwwwrr", "wwwwrr"),
    "posix_spawn (vfork)": ("wwwrrr", "wwwrrr"),
    "300 threads": ("wrrrrr", "wrrrrr"),
    "ptrace another process": ("wrrrrr", "wwrrrr"),
    "read another process's memory": ("wrrrrr", "wwrrrr"),
    "signal the parent": ("wrrrrr", "wwwrrr"),
    "terminate another process": ("wrrrrr", "wwwrrr"),
    "tgkill another process": ("wrrrrr", "wwwrrr"),
    "signal another process through a pipe's owner": ("wrrrrr", "wwwrrr"),
    "pidfd of the parent": ("wwwwrr", "wwwwrr"),
    "choose another process's processors": ("wrrrrr", "wwwwrr"),
    "addresses in another process (get_robust_list)": ("wrrrrr", "wwrrrr"),
    "attach the host's shared memory": ("wwrwrr", "wwrwrr"),
    "outlive the parent": ("wwwwrr", "wwwwrr"),
    "limits of the parent": ("wrrrrr", "wwwwrr"),
    "raise its own limits": ("rrrrrr", "rrrrrr"),
    "mount": ("wrrrrr", "rrrrrr"),
    "unshare": ("wrrrrr", "rrrrrr"),
    "user namespace": ("wwwwrr", "wwrwrr"),
    "setns": ("wrrrrr", "rrrrrr"),
    "bpf": ("wrrrrr", "rrrrrr"),
    "keyctl": ("wwwwrr", "wwwwrr"),
    "userfaultfd": ("wwwwrr", "wwwwrr"),
    "perf_event_open": ("wwwwrr", "wwwwrr"),
    "memfd_create": ("wwwwrr", "wwwwrr"),
    "map executable memory": ("wwwwrr", "wwwwrr"),
    "make memory executable": ("wwwwrr", "wwwwrr"),
    "make memory executable by key": ("wwwwrr", "wwwwrr"),
    "personality": ("wwwwrr", "wwwwrr"),
    "become dumpable": ("wwwwrr", "wwwwrr"),
    "setuid(0)": ("wrrrrr", "rrrrrr"),
    "chroot": ("wrrrrr", "rrrrrr"),
    "socket through int 0x80": ("wwwwrr", "wwwwrr"),
    "x32 call": ("rrrrrr", "rrrrrr"),
}

#: What works in a worker in spite of all layers. Stated in docs/security.md; nothing else may.
OPEN = frozenset({"see that a file exists, and its size"})

#: attempt → why it is refused even without confinement, as root: what its refusal shows is less.
NO_CONTROL: Mapping[str, str] = {
    "x32 call": "this kernel has no x32; under seccomp it is EPERM, not ENOSYS, and the filter is interpreted",
    "raise its own limits": "where root itself lacks CAP_SYS_RESOURCE",
}

#: attempt → the Landlock ABI from which Landlock refuses it; older ones let it through. The table is for ABI 7.
LANDLOCK_SINCE: Mapping[str, int] = {
    "TCP to the host, IPv4": 4,
    "TCP to the host, IPv6": 4,
    "listen on TCP": 4,
    "connect to a host's abstract Unix socket": 6,
    "signal the parent": 6,
    "terminate another process": 6,
    "tgkill another process": 6,
    "signal another process through a pipe's owner": 6,
    "connect to a host's Unix socket": 9,
    "datagram pair, sendmsg to a host's Unix socket": 9,
    "UDP to the host": 10,
}

#: Where a machine may refuse what the table says works: its settings or its kernel's options decide, not we.
MACHINES_DIFFER = frozenset(
    {
        "TCP to the host, IPv6",
        "io_uring",
        "keyctl",
        "perf_event_open",
        "ptrace another process",
        "read another process's memory",
        "addresses in another process (get_robust_list)",
        "socket through int 0x80",
        "user namespace",
        "userfaultfd",
        "vsock socket",
    }
)
