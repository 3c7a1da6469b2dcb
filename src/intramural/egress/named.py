"""What the settings allow by naming it: a host that stands there was put there by an administrator, for that purpose.

What only comes with the product (the hub that `hf:` looks at unless another is named) is nobody's decision, and is not
on the list.
"""

from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import urlsplit

from intramural.core.config import Config, LibraryConfig
from intramural.core.engines import RemoteEngine
from intramural.core.providers import OidcProvider
from intramural.egress.rules import Nearness, Purpose, Rule, is_here, near_of

_PORTS = {"https": 443, "http": 80, "postgresql": 5432}
#: A name in a setting that is about one machine may turn out to be this one.
_ANYWHERE: frozenset[Nearness] = frozenset({"here", "inside", "outside"})


def named_rules(config: Config) -> tuple[Rule, ...]:
    """The settings' part of the list."""
    return tuple(dict.fromkeys(_rules(config)))


def _rules(config: Config) -> Iterator[Rule]:
    library = config.library
    if library.allow_network:
        if library.hub.rstrip("/") != LibraryConfig().hub:
            yield from _address("library.hub", "pull", library.hub)
        yield from _hosts("library.redirect_hosts", "pull", library.redirect_hosts)
        yield from _hosts("library.registry_hosts", "pull", library.registry_hosts)
        yield from _hosts("library.registry_hosts", "push", library.registry_hosts)
        yield from _hosts("media.allowed_hosts", "media", config.media.allowed_hosts)
    for provider in config.providers.oidc:
        yield from _provider(provider)
    for directory in config.providers.ldap:
        yield _rule(f"sign-in.toml ldap.{directory.name}", "directory", directory.host, directory.port, _ANYWHERE)
    for engine in config.engines:
        yield from _engine(engine)
    if config.traces.endpoint:
        for rule in _address("traces.endpoint", "traces", config.traces.endpoint, 4318):
            yield rule
            if rule.host == "localhost":  # as `metering.traces` reads it
                yield replace(rule, host="127.0.0.1")
    for setting, anchors in (("witnesses", config.anchors.witnesses), ("stampers", config.anchors.stampers)):
        for anchor in anchors:
            yield from _address(f"anchors.{setting}", "anchor", anchor.partition(" ")[0])
    if config.storage.url:
        yield from _address("storage.url", "database", config.storage.url)


def _provider(provider: OidcProvider) -> Iterator[Rule]:
    setting = f"sign-in.toml oidc.{provider.name}"
    yield from _address(setting, "sign-in", provider.issuer)
    yield from _hosts(setting, "sign-in", provider.hosts)


def _engine(engine: RemoteEngine) -> Iterator[Rule]:
    if engine.address.scheme != "unix":
        near: frozenset[Nearness] = _ANYWHERE if engine.outside else frozenset({"here", "inside"})
        yield _rule(f"engines.toml {engine.name}", "engine", engine.address.host, engine.address.port, near)


def _address(setting: str, purpose: Purpose, url: str, port: int | None = None) -> Iterator[Rule]:
    """The machine that a whole address names; none if it names a Unix socket."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or (port if parts.scheme == "http" else None)
    except ValueError:  # whoever uses it says what is wrong with it
        return
    if host:
        yield _rule(setting, purpose, host, port or _PORTS.get(parts.scheme, 443), _ANYWHERE)


def _hosts(setting: str, purpose: Purpose, hosts: tuple[str, ...]) -> Iterator[Rule]:
    """Hosts as `host`, `host:port` or `*.example.org`: a list of places to be sent on to, none of which is this machine
    unless it says so."""
    for each in hosts:
        parts = urlsplit(f"//{each.lower()}")
        try:
            host, port = parts.hostname, parts.port
        except ValueError:
            continue
        if not host:
            continue
        near = near_of(host, inside=True)
        yield _rule(setting, purpose, host, port or 443, near)
        if port is None and is_here(host):  # to this machine also without encryption
            yield _rule(setting, purpose, host, 80, near)


def _rule(setting: str, purpose: Purpose, host: str, port: int, near: frozenset[Nearness]) -> Rule:
    return Rule(f"setting:{setting}", purpose, host.rstrip(".").lower(), port, near=near)
