"""What confines a process, as the kernel tells anybody who asks: read back, not remembered. Source: proc_pid_status(5).

Whether Landlock holds is told by nobody; the process that put it in force says so itself (`layers`).
"""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Held:
    """One process. `filters`: programs of seccomp in force (-1: the kernel does not count); `capabilities` as hex;
    `interfaces`: of its network, `lo` alone where that is empty; `network`: the number of its network namespace, if it
    may be known. `layers`: what it says itself.
    """

    name: str
    pid: int
    user: int
    seccomp: bool
    filters: int
    no_new_privileges: bool
    capabilities: str
    interfaces: tuple[str, ...]
    network: int | None
    layers: tuple[str, ...] = ()


def held(name: str, pid: int, layers: tuple[str, ...] = ()) -> Held | None:
    """What holds around process `pid` now; None: it is gone."""
    home = Path("/proc") / str(pid)
    try:
        status = dict(line.split(":", 1) for line in (home / "status").read_text().splitlines() if ":" in line)
        interfaces = _interfaces((home / "net/dev").read_text())
    except OSError:
        return None
    return Held(
        name=name,
        pid=pid,
        user=int(status["Uid"].split()[1]),
        seccomp=status.get("Seccomp", "0").strip() == "2",
        filters=int(status.get("Seccomp_filters", "-1")),
        no_new_privileges=status.get("NoNewPrivs", "0").strip() == "1",
        capabilities=status["CapEff"].strip(),
        interfaces=interfaces,
        network=_namespace(home),
        layers=layers,
    )


def _interfaces(text: str) -> tuple[str, ...]:
    return tuple(line.partition(":")[0].strip() for line in text.splitlines() if ":" in line)


def _namespace(home: Path) -> int | None:
    try:
        return (home / "ns/net").stat().st_ino
    except OSError:  # of a process that nobody may look into
        return None
