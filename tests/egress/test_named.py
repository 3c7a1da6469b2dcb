"""What settings allow by naming it."""

from pathlib import Path

from intramural.core.config import (
    AnchorsConfig,
    Config,
    EgressConfig,
    LibraryConfig,
    MediaConfig,
    StorageConfig,
    TracesConfig,
)
from intramural.core.engines import Address, RemoteEngine, RemoteModel
from intramural.core.providers import LdapDirectory, OidcProvider, Providers
from intramural.egress import named_rules

NOWHERE = Path("/nowhere")


def shown(config: Config) -> set[tuple[str, str, int | None, str]]:
    assert all(rule.id.startswith("setting:") and rule.verdict == "allow" for rule in named_rules(config))
    return {(r.purpose, r.host, r.port, " ".join(sorted(r.near))) for r in named_rules(config)}


def test_as_it_comes_nothing_is_on_the_list() -> None:
    assert EgressConfig().mode == "supervised"
    assert named_rules(Config(NOWHERE)) == ()


def test_every_setting_that_names_a_host() -> None:
    anywhere, beyond = "here inside outside", "inside outside"
    engine = RemoteEngine("lab", "vllm", Address("https", "gpu.example", 8000, ""), (RemoteModel("a", "b"),))
    away = RemoteEngine("away", "vllm", Address("https", "far.example", 443, ""), (), outside=True)
    by_socket = RemoteEngine("near", "vllm", Address("unix", "localhost", 0, "/run/x"), ())
    config = Config(
        NOWHERE,
        library=LibraryConfig(
            hub="https://hub.inside.example:8443/",
            redirect_hosts=("*.store.example",),
            registry_hosts=("tokens.example:444", "localhost"),
        ),
        media=MediaConfig(allowed_hosts=("pictures.example",)),
        traces=TracesConfig("https://collector.example"),
        anchors=AnchorsConfig(
            witnesses=("https://w.example:8790 name+hash+key",), stampers=("http://localhost /x.pem",)
        ),
        storage=StorageConfig("postgresql://me:secret@db.example/x"),
        engines=(engine, away, by_socket),
        providers=Providers(
            (OidcProvider("school", "School", "https://id.example/realms/all", "x", hosts=("keys.example",)),),
            (LdapDirectory("hospital", "Hospital", "ldap.example", 636, starts_tls=False, base="dc=x"),),
        ),
    )
    assert shown(config) == {
        ("pull", "hub.inside.example", 8443, anywhere),
        ("pull", "*.store.example", 443, beyond),
        *((purpose, "tokens.example", 444, beyond) for purpose in ("pull", "push")),
        *((purpose, "localhost", port, "here") for purpose in ("pull", "push") for port in (80, 443)),
        ("media", "pictures.example", 443, beyond),
        ("sign-in", "id.example", 443, anywhere),
        ("sign-in", "keys.example", 443, beyond),
        ("directory", "ldap.example", 636, anywhere),
        ("engine", "gpu.example", 8000, "here inside"),
        ("engine", "far.example", 443, anywhere),
        ("traces", "collector.example", 443, anywhere),
        ("anchor", "w.example", 8790, anywhere),
        ("anchor", "localhost", 80, anywhere),
        ("database", "db.example", 5432, anywhere),
    }
    assert not any("secret" in repr(rule) for rule in named_rules(config))


def test_where_the_network_is_forbidden_nothing_is_fetched() -> None:
    library = LibraryConfig(hub="https://hub.example", redirect_hosts=("a.example",), allow_network=False)
    assert named_rules(Config(NOWHERE, library=library, media=MediaConfig(allowed_hosts=("b.example",)))) == ()


def test_a_collector_on_this_machine_has_its_usual_port() -> None:
    assert shown(Config(NOWHERE, traces=TracesConfig("http://127.0.0.1"))) == {
        ("traces", "127.0.0.1", 4318, "here inside outside")
    }
    both = shown(Config(NOWHERE, traces=TracesConfig("http://localhost:99")))
    assert {(host, port) for _, host, port, _ in both} == {("localhost", 99), ("127.0.0.1", 99)}
    assert named_rules(Config(NOWHERE, traces=TracesConfig("unix:/run/otel.sock"))) == ()
