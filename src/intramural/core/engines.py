"""Engines on other machines inside the walls, as an administrator names them in `engines.toml`. Opens no connection.

    [lab]                                     # one table for each engine
    kind = "vllm"                             # llama-server, vllm, sglang or openai
    address = "https://gpu1.example:8000"     # https, http or unix:/path
    slots = 16                                # answers at once, all its models together
    context_tokens = 32768

    [lab.models]
    "qwen3:32b" = "Qwen/Qwen3-32B"            # our name = theirs; or a table, see `RemoteModel`

What is wrong is an error that names the file and the line. `docs/remote-engines.md` has every field.
"""

import ipaddress
import os
import re
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal, get_args
from urllib.parse import urlsplit

from intramural.core.errors import Misasked

EngineKind = Literal["llama-server", "vllm", "sglang", "openai"]
RemotePurpose = Literal["chat", "embedding", "rerank"]
RemoteThinks = Literal["never", "always", "either"]
Scheme = Literal["https", "http", "unix"]
_Ip = ipaddress.IPv4Address | ipaddress.IPv6Address

FILE: Final = "engines.toml"
_INSIDE: Final = tuple(
    map(ipaddress.ip_network, ("127.0.0.0/8", "::1/128", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"))
)
_PORTS: Final[Mapping[str, int]] = {"https": 443, "http": 80}
_ENGINE_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_PRINTED: Final = re.compile(r"[\x21-\x7e]{1,4096}")
_MAX_FILE_BYTES: Final = 1 << 20
_MAX_KEY_BYTES: Final = 4096
_MAX_SLOTS: Final = 4096
_MAX_TOKENS: Final = 2**24
_HEADER: Final = re.compile(r"\s*\[([^\[\]]+)\]\s*(?:#.*)?")
_ENTRY: Final = re.compile(r"""\s*((?:[A-Za-z0-9_.-]|"[^"]*"|'[^']*')+)\s*=""")


@dataclass(frozen=True, slots=True)
class Address:
    """Where an engine listens. `path` is the socket's for `unix`, else what comes before `/v1/…`."""

    scheme: Scheme
    host: str
    port: int
    path: str

    def __str__(self) -> str:
        """As people and the log see it: never with what is secret."""
        if self.scheme == "unix":
            return f"unix:{self.path}"
        return f"{self.scheme}://{self.authority}{self.path}"

    @property
    def authority(self) -> str:
        """`host:port` as a Host header has it."""
        if self.scheme == "unix":
            return "localhost"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class RemoteModel:
    """One model of an engine: our name and theirs, and what the engine does not tell.

    `slots` is its share of the engine's; `tools`: the engine was started so that it reads this model's tool calls;
    `efforts`: the template takes an effort of thinking.
    """

    name: str
    theirs: str
    purpose: RemotePurpose = "chat"
    context_tokens: int = 0
    slots: int = 0
    images: bool = False
    tools: bool = False
    thinks: RemoteThinks = "never"
    efforts: bool = False


@dataclass(frozen=True, slots=True)
class RemoteEngine:
    """One engine. `outside`: an administrator says that it is not on this machine or a private network.

    `ca_file` (PEM) is trusted instead of the system's certificates; there is no way to trust everything.
    """

    name: str
    kind: EngineKind
    address: Address
    models: tuple[RemoteModel, ...]
    outside: bool = False
    ca_file: Path | None = None
    key: str | None = field(default=None, repr=False)

    @property
    def shown(self) -> str:
        """`vllm at https://gpu1.example:8000`."""
        return f"{self.kind} at {self.address}"

    @property
    def in_clear(self) -> bool:
        """Whether what people ask travels to another machine unencrypted, as `cleartext` allows."""
        return self.address.scheme == "http" and not _is_here(self.address)


@dataclass(frozen=True, slots=True)
class Remote:
    """One model of one engine."""

    engine: RemoteEngine
    model: RemoteModel


def may_connect(address: str, *, outside: bool) -> bool:
    """Whether an engine at this IP address may be asked: on this machine or a private network, else only if it is said
    to be outside. Never link-local (where clouds keep credentials), multicast or unspecified addresses."""
    ip: _Ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    if any(ip in network for network in _INSIDE if network.version == ip.version):
        return True
    return outside and not (ip.is_link_local or ip.is_multicast or ip.is_unspecified or ip.is_reserved)


def read(file: Path, environ: Mapping[str, str], *, required: bool, allow_network: bool) -> tuple[RemoteEngine, ...]:
    """The engines that `file` names; none if there is no such file and it is not `required`.

    Raises Misasked(`bad_engine`) with the line at fault.
    """
    try:
        with file.open("rb") as opened:
            data = opened.read(_MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        if required:
            raise Misasked("bad_engine", f"{file} does not exist.", "Check INTRAMURAL_ENGINES.") from None
        return ()
    except OSError as error:
        raise Misasked("bad_engine", f"{file} cannot be read: {error.strerror}.", "Mend the file.") from error
    if len(data) > _MAX_FILE_BYTES:
        raise Misasked("bad_engine", f"{file} is too long.", "Mend the file.")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise Misasked("bad_engine", f"{file} is not UTF-8.", "Mend the file.") from error
    return parse(text, str(file), environ, allow_network=allow_network)


def parse(text: str, file: str, environ: Mapping[str, str], *, allow_network: bool) -> tuple[RemoteEngine, ...]:
    """The engines in `text`. Key files and variables are read now. Raises as `read`."""
    try:
        given = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise Misasked("bad_engine", f"{file}: {error}.", "Mend the file.") from error
    paper = _Paper(text, file)
    engines = tuple(_engine(paper, name, table, environ, allow_network) for name, table in given.items())
    seen: dict[str, str] = {}
    for engine in engines:
        for model in engine.models:
            if model.name in seen:
                raise paper.wrong((engine.name, "models", model.name), f"{seen[model.name]} has a model of that name")
            seen[model.name] = engine.name
    return engines


# one engine -----------------------------------------------------------------------------------------------------------

_FIELDS: Final[Mapping[str, type]] = {
    "kind": str, "address": str, "slots": int, "context_tokens": int, "models": dict, "outside": bool,
    "cleartext": bool, "ca_file": str, "api_key_file": str, "api_key_env": str,
}  # fmt: skip
_MODEL_FIELDS: Final[Mapping[str, type]] = {
    "theirs": str, "purpose": str, "context_tokens": int, "slots": int, "images": bool, "tools": bool, "thinks": str,
    "efforts": bool,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Paper:
    """The text, for finding the line of what is wrong."""

    text: str
    file: str

    def wrong(self, path: tuple[str, ...], what: str, hint: str = "See docs/remote-engines.md.") -> Misasked:
        return Misasked("bad_engine", f"{self.file}, line {_line(self.text, path)}: {what}.", hint)


def _engine(paper: _Paper, name: str, table: Any, environ: Mapping[str, str], allow_network: bool) -> RemoteEngine:
    here = (name,)
    if not _ENGINE_NAME.fullmatch(name):
        raise paper.wrong(here, f"{name!r} is no name of an engine (a-z, 0-9 and -, at most 32)")
    given = _checked(paper, here, table, _FIELDS)
    for needed in ("kind", "address", "models", "context_tokens"):
        if needed not in given:
            raise paper.wrong(here, f"{name} has no `{needed}`")
    kind = _one_of(paper, (*here, "kind"), given["kind"], EngineKind)
    outside = given.get("outside", False)
    address = _address(paper, name, given["address"], outside=outside, cleartext=given.get("cleartext", False))
    if not allow_network and not _is_here(address):
        hint = "Set library.allow_network, or take the engine out."
        raise paper.wrong((*here, "address"), "library.allow_network forbids to ask another machine", hint)
    if "ca_file" in given and address.scheme != "https":
        raise paper.wrong((*here, "ca_file"), "certificates are for https addresses")
    return RemoteEngine(
        name=name,
        kind=kind,
        address=address,
        models=_models(paper, name, given),
        outside=outside,
        ca_file=_file(paper, (*here, "ca_file"), given["ca_file"]) if "ca_file" in given else None,
        key=_key(paper, name, given, environ),
    )


def _address(paper: _Paper, name: str, text: str, *, outside: bool, cleartext: bool) -> Address:
    where = (name, "address")
    if text.startswith("unix:/"):
        path = text.removeprefix("unix:")
        if len(path.encode()) > 107 or "\0" in path:
            raise paper.wrong(where, "the path of a socket has at most 107 bytes")
        return Address("unix", "localhost", 0, path)
    try:
        url = urlsplit(text)
        host, port = url.hostname or "", url.port
    except ValueError:
        host, port = "", None
    if not host or not _PRINTED.fullmatch(text) or "@" in url.netloc or url.query or url.fragment:
        raise paper.wrong(where, f"{text!r} is no address", "Write https://HOST:PORT, http://HOST:PORT or unix:/PATH.")
    if url.scheme not in ("https", "http"):
        raise paper.wrong(where, f"{url.scheme!r} is neither https, http nor unix")
    scheme: Scheme = "https" if url.scheme == "https" else "http"
    path = url.path.rstrip("/").removesuffix("/v1").rstrip("/")  # as many clients' base address ends
    address = Address(scheme, host, port or _PORTS[scheme], path)
    if _is_ip(host) and not may_connect(host, outside=outside):
        hint = "Say `outside = true` if that is meant: what people ask then leaves the institution's own network."
        raise paper.wrong(where, f"{host} is neither this machine nor in a private network", hint)
    if scheme == "http" and not cleartext and not _is_here(address):
        hint = "Use https, or say `cleartext = true` if nobody can listen on that network."
        raise paper.wrong(where, "http sends what people ask unencrypted to another machine", hint)
    return address


def _models(paper: _Paper, name: str, given: Mapping[str, Any]) -> tuple[RemoteModel, ...]:
    where = (name, "models")
    tables: Mapping[str, Any] = given["models"]
    if not tables:
        raise paper.wrong(where, f"{name} has no models")
    slots = _number(paper, (name, "slots"), given.get("slots", 4), _MAX_SLOTS)
    context_tokens = _number(paper, (name, "context_tokens"), given["context_tokens"], _MAX_TOKENS)
    models = [_model(paper, (*where, key), key, value, context_tokens) for key, value in tables.items()]
    return tuple(_shared(paper, name, models, slots))


def _shared(paper: _Paper, name: str, models: list[RemoteModel], slots: int) -> list[RemoteModel]:
    """`models` with the slots that none of them claimed shared out: never more than `slots` together."""
    without = sum(not model.slots for model in models)
    left = slots - sum(model.slots for model in models)
    if left < without:
        raise paper.wrong((name, "models"), f"{name} has fewer slots ({slots}) than its models want")
    each = left // without if without else 0
    return [model if model.slots else replace(model, slots=each) for model in models]


def _model(paper: _Paper, where: tuple[str, ...], name: str, value: Any, context_tokens: int) -> RemoteModel:
    table = {"theirs": value} if isinstance(value, str) else value
    given = _checked(paper, where, table, _MODEL_FIELDS)
    theirs = given.get("theirs", name)
    if not _PRINTED.fullmatch(theirs) or not _PRINTED.fullmatch(name):
        raise paper.wrong(where, "a model's name is printable and has no spaces")
    return RemoteModel(
        name=name,
        theirs=theirs,
        purpose=_one_of(paper, (*where, "purpose"), given.get("purpose", "chat"), RemotePurpose),
        context_tokens=_number(
            paper, (*where, "context_tokens"), given.get("context_tokens", context_tokens), _MAX_TOKENS
        ),
        slots=_number(paper, (*where, "slots"), given["slots"], _MAX_SLOTS) if "slots" in given else 0,
        images=given.get("images", False),
        tools=given.get("tools", False),
        thinks=_one_of(paper, (*where, "thinks"), given.get("thinks", "never"), RemoteThinks),
        efforts=given.get("efforts", False),
    )


def _key(paper: _Paper, name: str, given: Mapping[str, Any], environ: Mapping[str, str]) -> str | None:
    if "api_key_file" in given and "api_key_env" in given:
        raise paper.wrong((name, "api_key_env"), "say either `api_key_file` or `api_key_env`")
    if "api_key_file" in given:
        where = (name, "api_key_file")
        key = _secret(paper, where, _file(paper, where, given["api_key_file"]))
    elif "api_key_env" in given:
        where = (name, "api_key_env")
        if given["api_key_env"] not in environ:
            raise paper.wrong(where, f"the environment has no {given['api_key_env']}")
        key = environ[given["api_key_env"]]
    else:
        return None
    if not _PRINTED.fullmatch(key):  # never its text
        raise paper.wrong(where, "what is there is no key")
    return key


def _secret(paper: _Paper, where: tuple[str, ...], file: Path) -> str:
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
        with os.fdopen(descriptor, "rb") as opened:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode) or found.st_uid not in (0, os.geteuid()) or found.st_mode & 0o077:
                hint = f"chmod 600 {file}, and let this service's user own it."
                raise paper.wrong(where, f"others could read or replace {file}", hint)
            return opened.read(_MAX_KEY_BYTES + 1).decode("ascii").strip()
    except UnicodeDecodeError:
        raise paper.wrong(where, "what is there is no key") from None
    except OSError as error:
        raise paper.wrong(where, f"{file} cannot be read ({error.strerror})") from error


# small parts ----------------------------------------------------------------------------------------------------------


def _checked(paper: _Paper, where: tuple[str, ...], table: Any, known: Mapping[str, type]) -> Mapping[str, Any]:
    if not isinstance(table, dict):
        raise paper.wrong(where, f"{where[-1]} is no table")
    for key, value in table.items():
        if key not in known:
            hint = "Known: " + ", ".join(sorted(known)) + "."
            raise paper.wrong((*where, key), f"there is no setting {key!r}", hint)
        if type(value) is not known[key]:
            raise paper.wrong((*where, key), f"`{key}` must be {known[key].__name__}")
    return table


def _one_of(paper: _Paper, where: tuple[str, ...], value: str, wanted: Any) -> Any:
    known = get_args(wanted)
    if value not in known:
        raise paper.wrong(where, f"`{where[-1]}` is {value!r}, not one of {', '.join(known)}")
    return value


def _number(paper: _Paper, where: tuple[str, ...], value: int, most: int) -> int:
    if not 1 <= value <= most:
        raise paper.wrong(where, f"`{where[-1]}` must be from 1 to {most}")
    return value


def _file(paper: _Paper, where: tuple[str, ...], text: str) -> Path:
    path = Path(text)
    if not path.is_absolute() or not path.is_file():
        raise paper.wrong(where, f"{text!r} is not the full path of a file")
    return path


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def _is_here(address: Address) -> bool:
    if address.scheme == "unix" or address.host == "localhost":
        return True
    return _is_ip(address.host) and ipaddress.ip_address(address.host.partition("%")[0]).is_loopback


def _line(text: str, path: tuple[str, ...]) -> int:
    """The line where `path` is set; where that is not found, the nearest table's above it; else the first."""
    found: dict[tuple[str, ...], int] = {(): 1}
    table: tuple[str, ...] = ()
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.fullmatch(line):
            table = _keys(header[1])
            for depth in range(1, len(table) + 1):
                found.setdefault(table[:depth], number)
        elif entry := _ENTRY.match(line):
            full = (*table, *_keys(entry[1]))
            for depth in range(len(table) + 1, len(full) + 1):
                found.setdefault(full[:depth], number)
    return next(found[path[:depth]] for depth in range(len(path), -1, -1) if path[:depth] in found)


def _keys(text: str) -> tuple[str, ...]:
    """`a."b.c"` → ("a", "b.c")."""
    try:
        value: Any = tomllib.loads(f"{text} = 0")
    except tomllib.TOMLDecodeError:  # inside a text of several lines
        return ()
    keys: list[str] = []
    while isinstance(value, dict):
        ((key, value),) = value.items()
        keys.append(key)
    return tuple(keys)
