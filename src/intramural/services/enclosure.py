"""What the service needs of the machine once it has started, read off its settings; and giving up the rest.

`needs` is pure but for where Python itself lies. What is forgotten here fails closed: a file that cannot be read, a
connection that cannot be made.
"""

import os
import ssl
import sys
import sysconfig
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from intramural.audit import verifier_path
from intramural.core import quiet
from intramural.core.config import Config
from intramural.egress import parse_mode
from intramural.library.sources.store import LM_STUDIO_FOLDERS, OLLAMA_FOLDERS
from intramural.sandbox import missing_layers, packetfilter
from intramural.sandbox.launch import Rules
from intramural.sandbox.packetfilter import PacketFilter
from intramural.sandbox.posture import Level
from intramural.sandbox.programs import executed
from intramural.sandbox.readback import Held, Role, held
from intramural.sandbox.seal import Needs, Seal, parse_level, require_sealable, seal
from intramural.sandbox.spawning import Spawner

_PACKAGE = "intramural"
_HERE = Path(__file__).parents[1]
#: What children's libraries may be told besides `core.quiet`: how many threads to make, and to start no debugger.
_CHILD_SETTINGS = frozenset(
    (
        "BLIS_NUM_THREADS", "GGML_NO_BACKTRACE", "GOMP_SPINCOUNT", "MKL_NUM_THREADS", "OMP_DYNAMIC", "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS", "TOKENIZERS_PARALLELISM",
    )
)  # fmt: skip
#: Libraries, certificates, time zones, kinds of files: nothing there is anybody's.
_SYSTEM = (
    "/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/share", "/etc/ld.so.cache", "/etc/localtime",
    "/etc/timezone", "/etc/mime.types", "/etc/ssl", "/etc/pki", "/etc/ca-certificates",
)  # fmt: skip
#: What the machine is doing: its load (/proc/stat, /proc/pressure), our allowance of it, our workers' memory.
_STATE = ("/proc", "/sys/fs/cgroup", "/sys/devices/system/cpu", "/sys/devices/system/node")
_DEVICES = ("/dev/zero", "/dev/random", "/dev/urandom")
#: Folders of the data directory in which models lie. Each has to be there before the spawner is fenced.
_MODELS = ("library", "lent", "wheels")
#: Whether a user number is somebody's, before it is lent to a worker; and what a child's standard input is.
_USERS = ("/etc/passwd", "/etc/nsswitch.conf", "/dev/null")
#: How names become addresses: the service reads it for the broker, or for a client of its own.
_NAMES = (
    "/etc/resolv.conf", "/etc/hosts", "/etc/host.conf", "/etc/nsswitch.conf", "/etc/gai.conf", "/etc/services",
    "/etc/protocols",
)  # fmt: skip
#: What a connection to PostgreSQL is looked up in.
_DATABASE = ("~/.pgpass", "~/.postgresql", "~/.pg_service.conf")


@dataclass(frozen=True, slots=True)
class Enclosure:
    """The service after it sealed itself, the process that starts its children, what it listens on, and the packet
    filter of its network as it was before the seal (a text: why that was not answered)."""

    seal: Seal
    spawner: Spawner
    address: tuple[str, int]
    packet_filter: PacketFilter | str


def processes(enclosure: Enclosure | None, workers: Iterable[tuple[str, int, tuple[str, ...]]]) -> list[Held]:
    """Every process of this service and what holds around each, as the kernel says: itself, its spawner, its workers
    (`workers`: name, process, what it says of itself), and others that it has, by their room (`egress`: the broker)."""
    wanted: list[tuple[str, Role, int, tuple[str, ...]]] = [
        ("gateway", "gateway", os.getpid(), () if enclosure is None else enclosure.seal.layers)
    ]
    if enclosure is not None:
        wanted.append(("spawner", "spawner", enclosure.spawner.pid, enclosure.spawner.layers))
    wanted += [(name, "worker", pid, layers) for name, pid, layers in workers]
    if enclosure is not None:
        known = {pid for _, _, pid, _ in wanted}
        for pid, child in enclosure.spawner.children.items():
            if pid not in known and child.layers:  # else it has only begun to confine itself
                room = child.entry.split(".")[1]
                wanted.append((room, "broker" if room == "egress" else "child", pid, child.layers))
    return [found for each in wanted if (found := held(*each)) is not None]


def unset_switches(enclosure: Enclosure | None, pid: int) -> tuple[str, ...] | None:
    """The switches of `core.quiet` that a process of this service says are not set in its environment; None: it did not
    say."""
    if pid == os.getpid():
        return quiet.unset()
    if enclosure is None:
        return None
    if pid == enclosure.spawner.pid:
        return enclosure.spawner.unset
    child = enclosure.spawner.children.get(pid)
    return None if child is None else child.unset


def read_packet_filter(now_ms: int) -> PacketFilter | str:
    """What only somebody who administers the network may know, so before the seal; or why it was not answered."""
    try:
        return packetfilter.read(now_ms)
    except PermissionError:
        return "the kernel tells it to whoever administers the network (CAP_NET_ADMIN), and the service does not"
    except OSError as error:
        return error.strerror or str(error)


def connects(config: Config) -> tuple[str, ...]:
    """The settings for which the service itself opens connections; none: it never does. Everything else that leaves
    goes by the broker, which is a child. Pure."""
    wanted = {"storage.url": config.storage.url, "vault.pkcs11_module": config.vault.pkcs11_module}
    return tuple(name for name, is_wanted in wanted.items() if is_wanted)


def needs(config: Config) -> Needs:
    """What the service with these settings reads, writes and connects for."""
    reaching = connects(config)
    stores = _at_home(*OLLAMA_FOLDERS, *LM_STUDIO_FOLDERS)
    read = [*_python(), *map(Path, (*_SYSTEM, *_STATE, *_DEVICES)), *stores, *_named(config)]
    if reaching or parse_mode(config.egress.mode) != "sealed":
        read += _names()
    if config.storage.url:
        read += _at_home(*_DATABASE)
    folders = (*config.anchors.folders, *config.sandbox.write_folders)
    write = [config.data_dir, Path("/dev/null"), *map(Path, folders)]
    if config.vault.erased_file:
        write.append(Path(config.vault.erased_file).parent)
    return Needs(tuple(read), tuple(write), (), reaching)


def spawner_needs(config: Config) -> Needs:
    """What the spawner and all its children reach: the interpreter, what is imported, models, and the places for their
    sockets. Not the database, keys, files or states of the data directory. Raises OSError."""
    models = [config.data_dir / each for each in _MODELS]
    prefixes = [Path(sys.prefix) / "pyvenv.cfg", *(Path(sys.base_prefix) / each for each in ("lib", "lib64"))]
    named = map(Path, (*config.sandbox.read_folders, *((config.library.starter,) if config.library.starter else ())))
    read = (*_python(), *prefixes, *map(Path, (*_SYSTEM, *_STATE, *_DEVICES, *_USERS)), *models, *named)
    return Needs(read, (config.data_dir / "run",), tuple(executed(Path(sys.executable))))


def _at_home(*paths: str) -> list[Path]:
    """With `~` as the home of the service's user, who may have none: then without those in it."""
    found = [os.path.expanduser(each) for each in paths]  # noqa: PTH111 — Path's raises where there is no home
    return [Path(each) for each in found if not each.startswith("~")]


def _python() -> Iterable[Path]:
    """The interpreter's modules and ours: some are imported when they are first needed. Not where we were started."""
    here = Path.cwd()
    yield from (_HERE, verifier_path())
    yield from (Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib"))
    yield from (Path(entry) for entry in sys.path if entry and Path(entry).absolute() != here)
    trusted = ssl.get_default_verify_paths()
    yield from (Path(each) for each in (trusted.cafile, trusted.capath) if each)


def _names() -> Iterable[Path]:
    """Where names are looked up. Of what others write anew, its folder: a rule is of a file, not of its name."""
    yield from map(Path, _NAMES)
    yield from {folder for each in _NAMES if (folder := Path(each).resolve().parent) != Path("/etc")}


def _named(config: Config) -> Iterable[Path]:
    """Files and folders that settings name."""
    library, vault = config.library, config.vault
    texts = (
        library.starter, library.hub_token_file, library.ca_file, library.registry_credentials, library.catalogue,
        library.catalogue_key, config.traces.ca_file, vault.passphrase_file, vault.pin_file, vault.pkcs11_module,
        *(each.partition(" ")[2].strip() for each in config.anchors.stampers), *config.sandbox.read_folders,
    )  # fmt: skip
    yield from (Path(text) for text in texts if text)
    if library.catalogue:
        yield Path(f"{library.catalogue}.sig")
    yield from (config.policy_file, config.trust_dir)
    files = [each.ca_file for each in config.engines]
    files += [each.ca_file for each in config.providers.oidc]
    files += [each.ca_file for each in config.providers.ldap]
    yield from (each for each in files if each is not None)


def left_out(config: Config) -> frozenset[str]:
    """The layers that children may do without, because the settings name that downgrade."""
    named = {level.value: level for level in Level if level is not Level.NONE}.get(config.sandbox.required_level)
    return frozenset() if named is None else missing_layers(named)


def start_spawner(config: Config) -> Spawner:
    """The process that starts children, before anything from outside is read. It knows what it may be asked for."""
    level = parse_level(config.sandbox.seal)
    require_sealable(level)  # before anything is made that would have to be taken away again
    run_dir = config.data_dir / "run"
    for folder in (config.data_dir, run_dir, *(config.data_dir / each for each in _MODELS)):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    without = left_out(config)
    may_connect = parse_mode(config.egress.mode) != "sealed"
    fenced = spawner_needs(config) if level == "full" else None
    return Spawner(Rules(_PACKAGE, without, run_dir, None, _CHILD_SETTINGS, connects=may_connect), fenced)


def seal_service(config: Config) -> Seal:
    """Seal this process by its settings. Raises Misasked(`bad_setting`), Broken(`seal_failed`)."""
    return seal(parse_level(config.sandbox.seal), needs(config))
