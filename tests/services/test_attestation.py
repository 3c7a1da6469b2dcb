"""What facts come to, sentence by sentence; what is signed of them; and that nothing missing is passed over."""

import base64
import hashlib
import json
from dataclasses import replace
from importlib.metadata import PathDistribution
from pathlib import Path
from typing import Any

import pytest

from intramural.audit import Entry
from intramural.core.config import AccessConfig, Config, StorageConfig, load
from intramural.core.engines import Address, RemoteEngine
from intramural.core.errors import Misasked
from intramural.core.quiet import SWITCHES
from intramural.sandbox.network import Interface, Socket, Sockets
from intramural.sandbox.packetfilter import Chain, PacketFilter
from intramural.services.attestation import facts as f
from intramural.services.attestation.findings import ASKED, findings, worst
from intramural.services.attestation.gathering import of_namespace, summed
from intramural.services.attestation.paper import page_of
from intramural.services.attestation.report import checked_nonce, enveloped, hashed, sections_of, written
from intramural.services.attestation.settings import settings
from intramural.services.attestation.software import differing

HOST, OWN = 4026531874, 4026532254
GONE = f.NotSeen("it could not be read")
LAYERS = ("netns", "uid", "landlock", "seccomp", "told")
QUIET = (Interface("lo", 0, 0, 0, 0),)


def process(kind: f.Kind, place: int = HOST, **changed: Any) -> f.Process:
    network = f.Network(place, GONE, QUIET)
    layers = () if kind in ("gateway", "spawner") else LAYERS
    capabilities = "000000000080000e" if kind == "gateway" else "0000000000000000"
    plain = f.Process(kind, kind, 7, 1, 61000, True, 2, True, capabilities, layers, network, ())
    return replace(plain, **changed)


def tcp(state: Any, local: str, port: int, remote: str = "", remote_port: int = 0, inode: int = 1) -> Socket:
    return Socket("tcp", state, local, port, remote, remote_port, 0, inode)


LISTENS = tcp("listening", "127.0.0.1", 8080)
CLIENT = tcp("connected", "10.0.0.5", 8080, "10.0.0.9", 40000)
REFUSED = f.Tried(LAYERS, (f.Attempt("tcp", "EPERM"), f.Attempt("udp", "EPERM")), arrived=False)
ARRIVED = f.Tried(LAYERS, (f.Attempt("tcp", "works"), f.Attempt("udp", "works")), arrived=True)
CONTROL = f.Control("127.0.0.1:8080", REFUSED, ARRIVED, (f.Attempt("tcp", "EPERM"),))


def here(*sockets: Socket, owner: Any = "service", **changed: Any) -> f.Namespace:
    listed = tuple(f.Owned(each, owner) for each in sockets)
    return replace(f.Namespace(HOST, (7,), listed, 0, 3, (), {}), **changed)


EMPTY = f.Namespace(OWN, (9,), (), 0, 0, (), {})
ALL = (process("gateway"), process("spawner"), process("broker"), process("worker", OWN))
BEGUN_MS = 1_795_000_000_000
LEDGER = f.Ledger(BEGUN_MS - 30 * 86_400_000, BEGUN_MS, 0, whole=True, went=(), more=0)
WENT = f.Went("pull", "models.example", 443, 2, 1, 0, 900, 80_000)
SOFTWARE = f.Software("1.0", "CPython 3.11", "0" * 64, 60, (), (), "xllamacpp 1", (), '{"bomFormat":"CycloneDX"}')
OUTPUT = Chain("inet", "wall", "out", "filter", "output", 0, drops=True, rules=4)
FILTER = PacketFilter(BEGUN_MS, 1, (OUTPUT,), 4, "0" * 64, ())
MODEL = f.Model("tiny:1b", "sha256:" + "a" * 64, 9, "package:x", "pinned", None, None, quarantined=False, loaded=True)
#: An installation as it should be.
RIGHT = f.Facts(
    made_ms=BEGUN_MS,
    log=f.Log("school.example/audit", 12, "c" * 43 + "=", "a note\n", ("a key",)),
    anchors=f.Anchors(("folder:/stick",), "green", "A checkpoint was put outside 1 h ago.", 1),
    kernel=f.Kernel("6.18", "x86_64", 7),
    confinement=f.Confinement("full", "full", True, (), "full", ("capabilities", "landlock", "seccomp"), ()),
    processes=ALL,
    gone=(),
    refused=f.Refused(BEGUN_MS - 30 * 86_400_000, (), 0),
    namespaces=(here(LISTENS, CLIENT), EMPTY),
    packet_filter=FILTER,
    control=CONTROL,
    way=f.Way("supervised", True, (), 0, 0, LEDGER),
    switches=SWITCHES,
    engines=(),
    required_trust="local",
    models=(MODEL,),
    software=SOFTWARE,
    policy_digest="",
    settings=f.Settings("0" * 64, ("data_dir",), ()),
    downgrades=(),
)
LESS = RIGHT.confinement


def way(**changed: Any) -> f.Facts:
    return replace(RIGHT, way=replace(RIGHT.way, **changed))


def confinement(**changed: Any) -> f.Facts:
    return replace(RIGHT, confinement=replace(LESS, **changed))


def processes(*found: f.Process) -> f.Facts:
    return replace(RIGHT, processes=found)


def control(**changed: Any) -> f.Facts:
    return replace(RIGHT, control=replace(CONTROL, **changed))


def namespaces(*found: f.Namespace) -> f.Facts:
    return replace(RIGHT, namespaces=found)


def filtered(*chains: Chain, **changed: Any) -> f.Facts:
    return replace(RIGHT, packet_filter=replace(FILTER, chains=chains, **changed))


GATEWAY, SPAWNER, _, WORKER = ALL
NOISY = replace(WORKER, network=f.Network(OWN, GONE, (Interface("lo", 0, 0, 60, 1),)))
BEYOND = tcp("connected", "10.0.0.5", 40000, "203.0.113.9", 443)
ENGINE = f.Engine("lab", "vllm", "https://10.0.0.7:8000", False, ("big:70b",))
SEALED = replace(RIGHT.way, mode="sealed", running=False)
NO_HALF = replace(CONTROL, allowed=f.NotSeen("no setting allows to connect to anybody."))

#: What is not as it should be: which question answers it, in which colour.
TABLE = [
    (confinement(level="no-landlock"), "confinement", "red"),
    (confinement(required="no-netns"), "confinement", "red"),
    (confinement(own_user=False), "users", "amber"),
    (confinement(seal="no-landlock"), "seal", "red"),
    (confinement(seal="off"), "seal", "red"),
    (confinement(seal=GONE), "seal", "red"),
    (confinement(connects=("storage.url",)), "itself", "amber"),
    (control(own=(f.Attempt("tcp", "works"),)), "itself", "red"),
    (processes(replace(GATEWAY, seccomp=False), SPAWNER, WORKER), "seal", "red"),
    (processes(replace(GATEWAY, capabilities="000001ffffffffff"), SPAWNER, WORKER), "seal", "red"),
    (processes(GATEWAY, replace(SPAWNER, no_new_privileges=False), WORKER), "seal", "red"),
    (processes(GATEWAY, WORKER), "seal", "red"),
    (processes(GATEWAY, SPAWNER, replace(WORKER, seccomp=False)), "processes", "red"),
    (processes(GATEWAY, SPAWNER, replace(WORKER, capabilities="0000000000000001")), "processes", "red"),
    (processes(GATEWAY, SPAWNER, replace(WORKER, layers=("netns", "seccomp"))), "processes", "red"),
    (replace(RIGHT, gone=("tiny:1b",)), "processes", "amber"),
    (replace(processes(GATEWAY, SPAWNER), control=GONE), "processes", "amber"),
    (replace(RIGHT, refused=GONE), "refused", "red"),
    (
        replace(RIGHT, refused=f.Refused(1, (f.RefusedCall(2, "model:tiny:1b", "worker", "ptrace"),), 3)),
        "refused",
        "red",
    ),
    (processes(GATEWAY, SPAWNER, replace(WORKER, layers=("netns", "landlock", "seccomp"))), "refused", "amber"),
    (processes(GATEWAY, SPAWNER, replace(WORKER, network=f.Network(HOST, GONE, QUIET))), "networks", "red"),
    (processes(GATEWAY, SPAWNER, replace(WORKER, network=GONE)), "networks", "red"),
    (processes(replace(GATEWAY, network=GONE), SPAWNER, WORKER), "networks", "red"),
    (processes(GATEWAY, SPAWNER, NOISY), "networks", "red"),
    (namespaces(here(LISTENS), replace(EMPTY, others=1)), "sockets", "red"),
    (namespaces(here(LISTENS), replace(EMPTY, unread={"tcp": "no"})), "sockets", "red"),
    (replace(RIGHT, control=GONE), "control", "red"),
    (control(confined=GONE), "control", "red"),
    (control(confined=ARRIVED), "control", "red"),
    (control(confined=replace(REFUSED, arrived=True)), "control", "red"),
    (control(allowed=GONE), "control", "red"),
    (control(allowed=replace(ARRIVED, arrived=False)), "control", "red"),
    (replace(RIGHT, control=NO_HALF, way=SEALED, namespaces=(here(LISTENS), EMPTY)), "control", "amber"),
    (namespaces(here(LISTENS, tcp("listening", "0.0.0.0", 99)), EMPTY), "listening", "red"),
    (namespaces(here(LISTENS, replace(LISTENS, table="packet", local="")), EMPTY), "listening", "red"),
    (namespaces(here(LISTENS, unread={"udp": "no"}), EMPTY), "listening", "red"),
    (namespaces(here(LISTENS, BEYOND), EMPTY), "connections", "amber"),
    (replace(RIGHT, way=SEALED, namespaces=(here(LISTENS, BEYOND), EMPTY)), "connections", "red"),
    (namespaces(here(LISTENS, unread={"tcp6": "no"}), EMPTY), "connections", "red"),
    (namespaces(here(LISTENS, cut=("tcp",)), EMPTY), "unseen", "amber"),
    (namespaces(here(BEYOND, owner="user"), EMPTY), "unseen", "amber"),
    (namespaces(EMPTY), "unseen", "red"),
    (replace(RIGHT, packet_filter=GONE), "firewall", "amber"),
    (filtered(), "firewall", "amber"),
    (filtered(replace(OUTPUT, hook="input")), "firewall", "amber"),
    (filtered(replace(OUTPUT, type="nat", hook="postrouting", drops=False)), "firewall", "amber"),
    (filtered(replace(OUTPUT, drops=False, rules=0)), "firewall", "amber"),
    (filtered(replace(OUTPUT, drops=False), older=("ip filter",)), "firewall", "amber"),
    (filtered(replace(OUTPUT, drops=False)), "firewall", "amber"),  # rules that nobody judged
    (processes(GATEWAY, SPAWNER, replace(WORKER, unset=("DO_NOT_TRACK",))), "telemetry", "red"),
    (processes(GATEWAY, replace(SPAWNER, unset=GONE), WORKER), "telemetry", "red"),
    (processes(), "telemetry", "red"),
    (way(mode="open"), "mode", "red"),
    (way(allowed=(f.Allowed("pull", "models.example", 443, ("outside",), "egress_1", None),)), "allowed", "amber"),
    (way(ledger=GONE), "ledger", "red"),
    (way(ledger=replace(LEDGER, went=(WENT,), lines=5)), "ledger", "amber"),
    (way(ledger=replace(LEDGER, whole=False, lines=20_000)), "ledger", "amber"),
    (replace(RIGHT, engines=(ENGINE,)), "engines", "amber"),
    (replace(RIGHT, engines=(ENGINE, replace(ENGINE, outside=True))), "engines", "red"),
    (replace(RIGHT, models=GONE), "models", "red"),
    (replace(RIGHT, models=(replace(MODEL, quarantined=True),)), "models", "red"),
    (replace(RIGHT, models=(replace(MODEL, trust="local"),)), "models", "amber"),
    (replace(RIGHT, software=GONE), "software", "red"),
    (replace(RIGHT, software=replace(SOFTWARE, changed=("ssl.py",))), "software", "red"),
    (replace(RIGHT, software=replace(SOFTWARE, bill=GONE)), "software", "red"),
    (replace(RIGHT, software=replace(SOFTWARE, unchecked=("x",))), "software", "amber"),
    (replace(RIGHT, downgrades=(f.Downgrade("egress.mode", "open", "Whatever may leave."),)), "downgrades", "red"),
    (replace(RIGHT, anchors=GONE), "anchors", "red"),
    (replace(RIGHT, anchors=f.Anchors((), "amber", "No anchor is named.", None)), "anchors", "amber"),
    (replace(RIGHT, anchors=f.Anchors(("x",), "red", "It is 30 h old.", 1)), "anchors", "red"),
]


def colours(facts: f.Facts) -> dict[str, str]:
    return {each.code: each.colour for each in findings(facts)}


def test_an_installation_as_it_should_be_is_green_throughout() -> None:
    assert {each.code: each.says for each in findings(RIGHT) if each.colour != "green"} == {}
    assert worst(findings(RIGHT)) == "green"


@pytest.mark.parametrize(("facts", "code", "colour"), TABLE)
def test_what_is_not_as_it_should_be(facts: f.Facts, code: str, colour: str) -> None:
    found = colours(facts)
    assert found[code] == colour
    assert list(found) == list(ASKED), "every question is answered, whatever the facts"
    assert worst(findings(facts)) != "green"


def test_each_question_is_shown_to_have_another_answer_than_green() -> None:
    told = {"settings", "log"}  # these tell, and cannot be wrong
    assert {code for _, code, _ in TABLE} == set(ASKED) - told


def test_what_is_not_red_although_it_looks_like_it() -> None:
    assert colours(replace(RIGHT, control=NO_HALF, way=SEALED))["control"] == "green"  # clients show that it answers
    assert colours(processes(GATEWAY, SPAWNER))["processes"] == "green"  # nothing is loaded
    assert colours(namespaces(here(replace(LISTENS, local="0.0.0.0")), EMPTY))["listening"] == "green"
    assert colours(filtered(OUTPUT, older=("ip filter",)))["firewall"] == "green"  # it drops, whatever the others do
    assert worst(()) == "red"


def test_a_packet_filter_that_nobody_could_read_is_said_so_and_when_another_was_read() -> None:
    said = {each.code: each.says for each in findings(replace(RIGHT, packet_filter=GONE))}["firewall"]
    assert said.startswith("Not answered") and GONE.reason in said
    assert "started (2026-11-18 " in {each.code: each.says for each in findings(RIGHT)}["firewall"]


def test_sentences_stay_short_whatever_is_named() -> None:
    many = tuple(f.Allowed("pull", f"{'h' * 200}{n}.example", 443, (), "x", None) for n in range(500))
    (found,) = [each for each in findings(way(allowed=many, more=7)) if each.code == "allowed"]
    assert len(found.says) <= 701 and found.says.startswith("507 destinations")


# gathered -------------------------------------------------------------------------------------------------------------


def test_whose_sockets_are_listed() -> None:
    mine, other = process("gateway", user=5), process("spawner", user=5)
    tables = Sockets(
        (
            replace(LISTENS, user=5, inode=11),
            replace(LISTENS, user=5, inode=12),  # another of the same user, for this machine alone
            replace(BEYOND, user=5, inode=13),
            replace(BEYOND, user=33, inode=14),
            replace(BEYOND, user=5, inode=0),  # nobody's any more
        )
    )
    found = of_namespace(HOST, (mine, other), tables, frozenset({11}))
    assert [(each.socket.inode, each.owner) for each in found.listed] == [(11, "service"), (13, "user")]
    assert (found.others, found.more) == (3, 0)


def test_a_crowd_of_clients_hides_no_connection_outward() -> None:
    mine = process("gateway")
    clients = [replace(CLIENT, inode=100 + number) for number in range(300)]
    tables = Sockets((*clients, replace(BEYOND, inode=1), replace(LISTENS, inode=2)))
    found = of_namespace(HOST, (mine,), tables, frozenset(each.inode for each in tables.found))
    assert [each.socket.inode for each in found.listed[:2]] == [2, 1] and found.more == 102
    said = {each.code: each for each in findings(namespaces(found, EMPTY))}["connections"]
    assert said.colour == "amber" and "203.0.113.9" in said.says and "300 connections" in said.says


def line(event: str, **facts: Any) -> Entry:
    about = {"purpose": "pull", "host": "models.example", "port": 443} | facts
    return Entry(1, 1, event, "system", "system", "", "", None, "", "allowed", None, about, {}, 0)


def test_the_ledger_is_summed_by_destination() -> None:
    found = summed(
        [
            line("egress.connected"),
            line("egress.closed", sent_bytes=5, received_bytes=50),
            line("egress.connected"),
            line("egress.closed", sent_bytes=7, received_bytes=None),
            line("egress.asked", host="other.example"),
            line("egress.refused", host="other.example"),
            line("egress.failed", host="other.example"),
            line("egress.allowed", host="third.example"),
        ]
    )
    assert found == [
        f.Went("pull", "models.example", 443, 2, 0, 0, 12, None),
        f.Went("pull", "other.example", 443, 0, 2, 1, 0, 0),
    ]


def test_settings_are_hashed_without_secrets(tmp_path: Path) -> None:
    plain = load({}, data_dir=tmp_path)
    assert settings(plain).changed == ("data_dir",) and settings(plain).secrets == ()
    address = Address("https", "10.0.0.7", 8000, "")

    def secret(key: str, password: str) -> Config:
        engine = RemoteEngine("lab", "vllm", address, (), key=key)
        return replace(plain, engines=(engine,), storage=StorageConfig(f"postgresql://u:{password}@db/x"))

    one, two = settings(secret("k1", "p1")), settings(secret("k2", "p2"))
    assert one == two and one.secrets == ("storage.url", "engines.0.key")
    assert one.changed == ("data_dir", "storage.url", "engines")
    assert one.sha256 != settings(plain).sha256
    other = settings(replace(plain, access=AccessConfig(login_attempts=11)))
    assert other.changed == ("data_dir", "access.login_attempts") and other.sha256 != settings(plain).sha256


def test_a_changed_file_of_a_package_is_found(tmp_path: Path) -> None:
    about = tmp_path / "thing-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Name: thing\nVersion: 1\n")
    (tmp_path / "thing.py").write_bytes(b"x = 1\n")
    record = "thing.py,sha256=5XWMKurH8YRJ-tw1VITaQWzRK8mpW6-wH6nQnC1hJ-k,6\n../../bin/thing,sha256=AAAA,1\n"
    (about / "RECORD").write_text(record + "thing-1.dist-info/RECORD,,\n")
    package = PathDistribution(about)
    assert differing(package) == ["thing.py"]
    digest = base64.urlsafe_b64encode(hashlib.sha256(b"x = 1\n").digest()).rstrip(b"=").decode()
    (about / "RECORD").write_text(f"thing.py,sha256={digest},6\n")
    assert differing(package) == []
    (tmp_path / "thing.py").unlink()
    assert differing(package) == ["thing.py"]
    (about / "RECORD").write_text("thing.py,,\n")
    assert differing(package) is None


# the report -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("nonce", ["", "with space", "a" * 129, "$(x)", "<b>", "é", "a\n"])
def test_what_is_no_nonce(nonce: str) -> None:
    with pytest.raises(Misasked) as caught:
        checked_nonce(nonce)
    assert caught.value.code == "bad_nonce"


def test_every_fact_is_in_a_section_and_every_section_in_what_is_signed() -> None:
    sections = sections_of(RIGHT)
    held = {part for section in sections.values() for part in section}
    elsewhere = {"made_ms", "log"}  # in the statement itself
    assert set(f.Facts.__dataclass_fields__) - elsewhere <= held
    unsigned = written("att_1", RIGHT, findings(RIGHT), "n1", scheduled=False)
    assert unsigned.statement["sections"] == {name: hashed(section) for name, section in sections.items()}
    assert unsigned.statement["log"] == {"size": 12, "root": RIGHT.log.root}
    assert sections["bill"] == {"bomFormat": "CycloneDX"}
    assert sections_of(replace(RIGHT, software=GONE))["bill"] == {"not_seen": "no software was seen"}
    assert sections_of(replace(RIGHT, control=GONE))["control"] == {"control": {"not_seen": GONE.reason}}


def test_the_page_says_what_is_wrong_first_and_shows_no_markup_of_others() -> None:
    hostile = replace(MODEL, name="<script>x</script>", signer="<b>me</b>")
    facts = replace(confinement(seal="off"), models=(hostile,), engines=(replace(ENGINE, name="<i>lab</i>"),))
    unsigned = written("att_1", facts, findings(facts), "n1", scheduled=True)
    page = page_of(enveloped(unsigned, "a note", "a note", ["a key"], "a proof"))
    assert "<script" not in page and "<b>" not in page and "<i>" not in page
    assert page.index("sandbox.seal is off") < page.index("What holds")
    assert "Missing, lowered or not seen" in page and "--nonce n1" in page
    part = json.loads(enveloped(unsigned, "a note", "a note", ["a key"], "a proof"))
    del part["sections"]["leaving"]
    assert "“leaving” was left out" in page_of(json.dumps(part).encode())


def test_whatever_was_not_seen_can_be_shown() -> None:
    nothing = replace(
        RIGHT,
        anchors=GONE,
        control=GONE,
        models=GONE,
        software=GONE,
        processes=tuple(replace(each, network=GONE, began_ms=GONE) for each in ALL),
        confinement=replace(LESS, seal=GONE),
        way=replace(RIGHT.way, ledger=GONE),
    )
    unsigned = written("att_1", nothing, findings(nothing), None, scheduled=False)
    page = page_of(enveloped(unsigned, "a note", "a note", ["a key"], "a proof"))
    assert page.count("it could not be read") > 8
