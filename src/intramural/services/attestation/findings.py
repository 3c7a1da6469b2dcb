"""What the facts come to: one sentence for each thing that somebody would ask about, with a colour. Pure.

    green   it is as it should be, or it is only told
    amber   it holds less, or says less, than it could; somebody decided so, or has to look at it
    red     something is missing, was lowered by a setting, or could not be seen

Whoever reads only the sentences is to be right. Each row of `ASKED` is one question, and answers it in every case: none
is left out because there is nothing good to say.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from intramural.sandbox.identity import SERVICE_KEEPS
from intramural.sandbox.network import Socket
from intramural.services.attestation import facts as f

Colour = Literal["green", "amber", "red"]
#: The worst of them is the whole report's.
COLOURS: tuple[Colour, ...] = ("green", "amber", "red")
Topic = Literal["confinement", "network", "leaving", "models", "software", "log"]

#: So that a statement stays within what a signed note may hold, whatever is named in it.
_MOST_CHARACTERS = 700
_MOST_NAMED = 8
_CONFINED: frozenset[f.Kind] = frozenset({"worker", "helper"})


@dataclass(frozen=True, slots=True)
class Finding:
    """A sentence. `code` names the question, and stays when the words change."""

    code: str
    topic: Topic
    colour: Colour
    says: str


def findings(facts: f.Facts) -> tuple[Finding, ...]:
    """An answer to every question, in the order in which one would ask."""
    found = []
    for code, (topic, answer) in ASKED.items():
        colour, says = answer(facts)
        found.append(
            Finding(code, topic, colour, says if len(says) <= _MOST_CHARACTERS else f"{says[:_MOST_CHARACTERS]}…")
        )
    return tuple(found)


def worst(found: Iterable[Finding]) -> Colour:
    """The colour of all of them together."""
    return max((each.colour for each in found), key=COLOURS.index, default="red")


_Answer = tuple[Colour, str]


# confinement ----------------------------------------------------------------------------------------------------------


def _level(facts: f.Facts) -> _Answer:
    found = facts.confinement
    if found.level != "full":
        reasons = f" Reasons: {'; '.join(found.reasons)}." if found.reasons else ""
        lowered = "; the settings allow that." if found.required != "full" else "."
        return "red", f"This machine confines what computes answers less than fully: {found.level}{lowered}{reasons}"
    if found.required != "full":
        return "red", f"The settings allow less than full confinement ({found.required}); what holds now is full."
    abi, release = facts.kernel.landlock_abi, facts.kernel.release
    return "green", f"Tried at the start: confinement is full (Linux {release}, Landlock ABI {abi})."


def _confined(facts: f.Facts) -> _Answer:
    """Workers, helpers and the broker: filters, privileges, capabilities."""
    children = [each for each in facts.processes if each.kind in {*_CONFINED, "broker"}]
    weak = [f"{each.name} ({why})" for each in children if (why := ", ".join(lacking(each)))]
    if weak:
        return "red", f"Of the processes that compute answers or connect, some lack a layer: {_named(weak)}."
    if facts.gone:
        return (
            "amber",
            f"Some processes ended while they were looked at, and were not seen whole: {_named(facts.gone)}.",
        )
    workers = sum(each.kind == "worker" for each in children)
    if not workers:
        control = facts.control
        if isinstance(control, f.NotSeen) or isinstance(control.confined, f.NotSeen):
            return "amber", "No process with a model runs now, and none of the control's: nothing could be read back."
        return "green", (
            f"No model is loaded now. Other confined processes: {len(children)}; the kernel shows that each holds "
            "every layer. What is said of processes with a model is of the control's, which is confined alike."
        )
    others = len(children) - workers
    return "green", (
        f"Processes with a model: {workers}; others that are confined: {others}. The kernel shows that each has a "
        "filter of system calls, no privilege to gain, and no capability."
    )


def _refused(facts: f.Facts) -> _Answer:
    """What confined processes tried, of what none ever tries."""
    found = facts.refused
    if isinstance(found, f.NotSeen):
        return "red", f"What confined processes were refused could not be read of the log: {found.reason}."
    days = (facts.made_ms - found.from_ms) // 86_400_000
    if found.calls:
        what = _named(dict.fromkeys(f"{each.call} ({each.target})" for each in found.calls))
        count = _count(len(found.calls) + found.more, "time", "times")
        return "red", f"In the last {days} days confined processes were refused what none ever tries, {count}: {what}."
    said = f"In the last {days} days no confined process was refused anything that none of ours ever tries"
    unheard = [
        each.name for each in facts.processes if each.kind in {*_CONFINED, "broker"} and "told" not in each.layers
    ]
    if unheard:
        return "amber", f"{said}; but of some that run now nobody would hear of it: {_named(unheard)}."
    return "green", f"{said}. What Landlock alone refuses, which is to read other files, nobody hears of."


def _own_user(facts: f.Facts) -> _Answer:
    if facts.confinement.own_user:
        return "green", "Tried at the start: every process with a model is a user of its own to the kernel."
    return "amber", (
        "Processes with models are the same user as the service, because it was not started as root; the other layers "
        "keep them apart from it."
    )


def _sealed(facts: f.Facts) -> _Answer:
    found = facts.confinement
    if isinstance(found.seal, f.NotSeen):
        return "red", f"How the service itself is confined could not be seen: {found.seal.reason}."
    if found.seal != "full":
        return (
            "red",
            f"The service itself is confined less than fully, as a setting says: sandbox.seal is {found.seal}.",
        )
    gateway = next((each for each in facts.processes if each.kind == "gateway"), None)
    spawner = next((each for each in facts.processes if each.kind == "spawner"), None)
    if gateway is None or spawner is None:
        return "red", "The service's own processes could not be found among those that run."
    weak = [each.name for each in (gateway, spawner) if not each.seccomp or not each.no_new_privileges]
    if int(gateway.capabilities, 16) & ~SERVICE_KEEPS:
        weak.append(f"{gateway.name} (capabilities {gateway.capabilities})")
    if weak:
        return "red", f"The service says that it is sealed, and the kernel does not show it: {_named(weak)}."
    return "green", (
        "The service gave up what it does not need when it started: other files, other processes, starting programs. "
        "The kernel shows its filter; that files are fenced off (Landlock) only the service itself can say."
    )


# the network ----------------------------------------------------------------------------------------------------------


def _apart(facts: f.Facts) -> _Answer:
    """Whether what computes answers has a network."""
    seen = [each for each in facts.processes if each.kind in _CONFINED]
    gateway = next((each for each in facts.processes if each.kind == "gateway"), None)
    if gateway is None or isinstance(gateway.network, f.NotSeen):
        return "red", "The network of the service itself could not be seen, so nothing can be compared with it."
    hidden = [f"{each.name}: {each.network.reason}" for each in seen if isinstance(each.network, f.NotSeen)]
    if hidden:
        return "red", f"Of some confined processes the network could not be seen: {_named(hidden)}."
    networks = [(each.name, each.network) for each in seen if isinstance(each.network, f.Network)]
    shared = [name for name, network in networks if network.place == gateway.network.place]
    if shared:
        return "red", f"Some processes with a model are in the machine's own network: {_named(shared)}."
    loud = [
        f"{name} ({interface.name}: {interface.sent_bytes} bytes out, {interface.received_bytes} in)"
        for name, network in networks
        for interface in network.interfaces
        if interface.sent_packets or interface.received_packets
    ]
    if loud:
        return "red", f"Something went over an interface of a confined process: {_named(loud)}."
    if not networks:
        return "green", "No confined process runs now that could have a network."
    return "green", (
        f"Processes that compute or read models: {len(networks)}. Each is in a network of its own, apart from the "
        "machine's; 0 bytes were sent or received in it since it was made."
    )


def _quiet(facts: f.Facts) -> _Answer:
    """Sockets in the networks of confined processes."""
    places = _places_of(facts, _CONFINED) - _places_of(facts, {"gateway"})
    there = [each for each in facts.namespaces if each.place in places]
    unread = [f"{table}: {why}" for each in there for table, why in each.unread.items()]
    if unread:
        return "red", f"The sockets of confined processes could not all be read: {_named(unread)}."
    if count := sum(len(each.listed) + each.more + each.others for each in there):
        return "red", f"There are {count} internet sockets in the networks of confined processes; there may be none."
    return "green", "In the networks of confined processes there is no internet socket of any kind."


def _control(facts: f.Facts) -> _Answer:
    found = facts.control
    if isinstance(found, f.NotSeen):
        return "red", f"The positive control was not made: {found.reason}."
    if isinstance(found.confined, f.NotSeen):
        return "red", f"The positive control's confined half was not made: {found.confined.reason}"
    worked = [each.name for each in found.confined.attempts if each.outcome == "works"]
    if worked or found.confined.arrived:
        return "red", f"A process confined as those with a model are could use the network: {_named(worked)}."
    refused = (
        f"A process was confined in the same way as those with a model; it tried to connect to {found.address}, and "
        f"{len(found.confined.attempts) - 1} other ways to a network, and was refused each time"
    )
    if isinstance(found.allowed, f.NotSeen):
        if facts.way.mode != "sealed":
            return "red", f"{refused}. The half that should work was not made: {found.allowed.reason}"
        said = (
            f"{refused}. In this mode no process at all may connect, so that the same attempt works could not be shown"
        )
        came = _clients(facts)
        if came:
            return (
                "green",
                f"{said}; that somebody answers there, {_count(came, 'client', 'clients')} show at this moment.",
            )
        return "amber", f"{said}."
    if not found.allowed.arrived:
        return (
            "red",
            f"{refused}. But the same attempt did not arrive from where it is allowed: the control says nothing.",
        )
    return "green", f"{refused}. The same attempt to connect, made by a process that may, arrived."


def _listening(facts: f.Facts) -> _Answer:
    sockets = _own(facts)
    if sockets is None:
        return "red", "The sockets of the service could not be read."
    raw = [each.table for each in sockets if each.table in ("raw", "raw6", "packet")]
    if raw:
        return "red", f"The service has sockets that see or forge packets: {_named(raw)}."
    listening = [each for each in sockets if each.state == "listening"]
    address = facts.control.address if isinstance(facts.control, f.Control) else ""
    more = [each for each in listening if not address.endswith(f":{each.local_port}")]
    if more:
        return "red", f"The service listens where it should not: {_named(map(_local, more))}."
    if not listening:
        return "green", "The service listens nowhere."
    where = _named(map(_local, listening))
    if any(not each.is_loopback for each in listening):
        return "green", f"The service listens at {where}: other machines may reach it."
    return "green", f"The service listens at {where}: no other machine reaches it but through a proxy."


def _connections(facts: f.Facts) -> _Answer:
    sockets = _own(facts)
    if sockets is None:
        return "red", "The connections of the service could not be read."
    ports = _ports(sockets)
    going = [each for each in sockets if each.state == "connected" and each.local_port not in ports]
    beyond = [each for each in going if not each.is_loopback]
    came = f"{_count(_clients(facts), 'connection has', 'connections have')} come in from people and programs"
    if not beyond:
        return "green", f"At this moment the service has no connection to another machine; {came}."
    where = _named(f"{each.remote} port {each.remote_port}" for each in beyond)
    if facts.way.mode == "sealed":
        return "red", f"Although nothing may leave, the service has connections to other machines: {where}."
    return "amber", f"At this moment the service has connections to other machines: {where}; {came}."


def _unseen(facts: f.Facts) -> _Answer:
    """Whether the tables were read whole, and what belongs to others."""
    place = _places_of(facts, {"gateway"})
    here = [each for each in facts.namespaces if each.place in place]
    unread = [f"{table}: {why}" for each in here for table, why in each.unread.items()]
    if unread or not here:
        return "red", f"Sockets of this machine could not all be read: {_named(unread) or 'none was'}."
    cut = [table for each in here for table in each.cut]
    if cut:
        return "amber", f"There were so many sockets on this machine that tables were read in part: {_named(cut)}."
    others = sum(each.others for each in here)
    shared = [
        each.socket
        for space in here
        for each in space.listed
        if each.owner == "user" and each.socket.state == "connected" and not each.socket.is_loopback
    ]
    said = f"On this machine there are {others} sockets of other programs, which are not looked at here"
    if shared:
        return "amber", (
            f"{said}. {len(shared)} connections to other machines belong to the user that the service runs as, and not "
            "to the service's main process: run it as a user of its own, so that these can be told apart."
        )
    return "green", f"{said}."


def _filtered(facts: f.Facts) -> _Answer:
    """What the machine's own packet filter does with what goes out; green only where what no rule names is dropped."""
    found = facts.packet_filter
    if isinstance(found, f.NotSeen):
        return (
            "amber",
            f"Not answered: whether a packet filter of this machine stops anything that goes out ({found.reason}).",
        )
    when = f"{datetime.fromtimestamp(found.read_ms / 1000, UTC):%Y-%m-%d %H:%M} UTC"
    said = f"The packet filter of the service's network was read when the service started ({when})"
    outward = [each for each in found.chains if each.is_outward]
    drops = [f"{each.family} {each.table} {each.name}" for each in outward if each.drops]
    rules = sum(each.rules for each in outward)
    if drops:
        return "green", f"{said}: what goes out and is named by no rule is dropped ({_named(drops)})."
    if found.older:
        return "amber", f"{said}; it has tables of an older kind, whose rules were not read: {_named(found.older)}."
    if rules:
        return "amber", (
            f"{said}: {_count(rules, 'rule looks', 'rules look')} at what goes out; what they do not stop passes, and "
            "what they say is not judged here."
        )
    return "amber", f"{said}: nothing in it looks at what goes out. What is confined, the service alone confines."


# what leaves ----------------------------------------------------------------------------------------------------------


def _mode(facts: f.Facts) -> _Answer:
    mode = facts.way.mode
    if mode == "open":
        return "red", "The list of what may leave is not enforced (egress.mode is open): whatever nobody denied may."
    if mode == "sealed":
        return "green", "Nothing may leave this machine: the service has no process that can connect to another one."
    return "green", "Only what stands on a list may leave this machine; about everything else a person is asked."


def _allowed(facts: f.Facts) -> _Answer:
    count = len(facts.way.allowed) + facts.way.more
    if facts.way.mode == "sealed" or not count:
        waiting = f" {_count(facts.way.asked, 'question waits', 'questions wait')}." if facts.way.asked else ""
        return "green", f"No other machine stands on the list of what may be contacted.{waiting}"
    where = _named(f"{each.host} for {each.purpose}" for each in facts.way.allowed)
    return "amber", f"{_count(count, 'destination stands', 'destinations stand')} on the list: {where}."


def _ledger(facts: f.Facts) -> _Answer:
    ledger = facts.way.ledger
    if isinstance(ledger, f.NotSeen):
        return "red", f"The ledger of what left could not be read: {ledger.reason}."
    days = (ledger.to_ms - ledger.from_ms) // 86_400_000
    went = [each for each in ledger.went if each.connected]
    refused = sum(each.refused for each in ledger.went)
    turned = f" {_count(refused, 'attempt was', 'attempts were')} refused." if refused else ""
    part = "" if ledger.whole else f" Only the newest {ledger.lines} lines of the ledger were read."
    if not went:
        return ("green" if ledger.whole else "amber"), (
            f"In the last {days} days the ledger has no connection to another machine.{turned}{part}"
        )
    count = sum(each.connected for each in went)
    sent = [each.sent_bytes for each in went]
    bytes_ = f"{sum(each or 0 for each in sent)} bytes went out" + (" at least" if None in sent else "")
    where = _named(f"{each.host} for {each.purpose}" for each in went)
    return (
        "amber",
        f"In the last {days} days: {_count(count, 'connection', 'connections')} ({where}); {bytes_}.{turned}{part}",
    )


def _itself(facts: f.Facts) -> _Answer:
    names = facts.confinement.connects
    made = [each.outcome for each in facts.control.own] if isinstance(facts.control, f.Control) else []
    if names:
        return "amber", f"The service itself may open connections, which are not in the ledger, for: {_named(names)}."
    if "works" in made:
        return "red", "The service itself could make an internet socket, and no setting needs that."
    if made:
        return "green", f"The service itself tried to make an internet socket, and the kernel refused it ({made[0]})."
    return "red", "Whether the service itself can connect was not tried."


def _telemetry(facts: f.Facts) -> _Answer:
    """Whether the libraries in each process were told to report to nobody."""
    hidden = [f"{each.name}: {each.unset.reason}" for each in facts.processes if isinstance(each.unset, f.NotSeen)]
    if hidden or not facts.processes:
        return (
            "red",
            f"Whether libraries are told to report to nobody was not seen of: {_named(hidden) or 'any process'}.",
        )
    told = [(each.name, each.unset) for each in facts.processes if not isinstance(each.unset, f.NotSeen)]
    lacking = [f"{name} ({_named(unset)})" for name, unset in told if unset]
    if lacking:
        return (
            "red",
            f"In some processes libraries are not told to report to nobody; what is not set: {_named(lacking)}.",
        )
    return "green", (
        f"Libraries in each of the service's processes ({len(told)}) are told to report to nobody and to fetch "
        f"nothing, by {len(facts.switches)} switches in its environment, as it says itself. What does not heed them is "
        "held by the confinement."
    )


def _engines(facts: f.Facts) -> _Answer:
    if not facts.engines:
        return "green", "Every answer is computed on this machine."
    where = _named(f"{each.name} at {each.address}" for each in facts.engines)
    if any(each.outside for each in facts.engines):
        return "red", f"What people ask some models leaves the building, to engines that nobody here confines: {where}."
    return "amber", f"What people ask some models goes to engines that nobody here confines: {where}."


# models, software, the log --------------------------------------------------------------------------------------------


def _models(facts: f.Facts) -> _Answer:
    if isinstance(facts.models, f.NotSeen):
        return "red", f"The library of models could not be read: {facts.models.reason}."
    wrong = [each.name for each in facts.models if each.loaded and each.quarantined]
    if wrong:
        return "red", f"Models are in use that inspection holds back: {_named(wrong)}."
    if not facts.models:
        return "green", "There is no model on this machine."
    counted = Counter(each.trust for each in facts.models)
    said = ", ".join(f"{number} {trust}" for trust, number in sorted(counted.items()))
    colour: Colour = "amber" if counted["local"] else "green"
    return colour, (
        f"Every byte of a model is compared with its digest each time it is loaded. By where they come from: {said} "
        f"(required: {facts.required_trust})."
    )


def _software(facts: f.Facts) -> _Answer:
    if isinstance(facts.software, f.NotSeen):
        return "red", f"The installed software could not be read: {facts.software.reason}."
    found = facts.software
    if found.changed:
        return "red", f"Installed files are not as they were installed: {_named(found.changed)}."
    if isinstance(found.bill, f.NotSeen):
        return "red", f"The bill of materials could not be made: {found.bill.reason}."
    if found.unchecked:
        return "amber", (
            f"{found.packages} packages are as they were installed; of others that could not be said: "
            f"{_named(found.unchecked)}."
        )
    return "green", (
        f"intramural {found.version}; each of {found.packages} packages is as it was installed, file by file."
    )


def _settings(facts: f.Facts) -> _Answer:
    changed = [each for each in facts.settings.changed if each != "data_dir"]
    rules = "The institution has rules of its own" if facts.policy_digest else "The institution has no rules of its own"
    said = f"{_count(len(changed), 'setting is', 'settings are')} not as they come"
    return "green", f"{rules}; {said}. Both are here as hashes, so that a change shows."


def _downgrades(facts: f.Facts) -> _Answer:
    if not facts.downgrades:
        return "green", "No setting gives up anything of what the product promises as it comes."
    named = _named(f"{each.setting} ({each.says.rstrip('.')})" for each in facts.downgrades)
    return "red", f"Settings give up something of what is promised; each start writes so into the log: {named}."


def _log(facts: f.Facts) -> _Answer:
    return "green", (
        f"The log has {facts.log.size} entries; this report hangs on its newest signed checkpoint. Whether all of them "
        "are as they were written is checked with the log itself, elsewhere."
    )


def _anchors(facts: f.Facts) -> _Answer:
    if isinstance(facts.anchors, f.NotSeen):
        return "red", f"Whether checkpoints of the log are held outside could not be seen: {facts.anchors.reason}."
    colour: Colour = "red" if facts.anchors.colour == "red" else "amber" if facts.anchors.colour == "amber" else "green"
    return colour, facts.anchors.why


# what rows share ------------------------------------------------------------------------------------------------------


def lacking(process: f.Process) -> list[str]:
    """What a confined process does not hold, of what it should."""
    found = []
    if not process.seccomp:
        found.append("no filter of system calls")
    if not process.no_new_privileges:
        found.append("may gain privileges")
    if int(process.capabilities, 16):
        found.append(f"capabilities {process.capabilities}")
    if process.kind == "worker":
        found += [f"no {layer}" for layer in ("netns", "landlock", "seccomp") if layer not in process.layers]
    return found


def _places_of(facts: f.Facts, kinds: Iterable[f.Kind]) -> set[int]:
    wanted = set(kinds)
    return {
        each.network.place for each in facts.processes if each.kind in wanted and isinstance(each.network, f.Network)
    }


def _own(facts: f.Facts) -> list[Socket] | None:
    """The service's own internet sockets; None: they could not be read."""
    here = [each for each in facts.namespaces if each.place in _places_of(facts, {"gateway"})]
    if not here or any(each.unread for each in here):
        return None
    return [each.socket for space in here for each in space.listed if each.owner == "service"]


def _ports(sockets: Iterable[Socket]) -> set[int]:
    """What is listened on."""
    return {each.local_port for each in sockets if each.state == "listening"}


def _clients(facts: f.Facts) -> int:
    """How many connections came in; those that are not listed are such."""
    sockets = _own(facts) or []
    ports, here = _ports(sockets), _places_of(facts, {"gateway"})
    listed = sum(each.state == "connected" and each.local_port in ports for each in sockets)
    return listed + sum(each.more for each in facts.namespaces if each.place in here)


def _local(socket: Socket) -> str:
    return f"{socket.local} port {socket.local_port}"


def _named(names: Iterable[str]) -> str:
    """The first of them, and how many more there are."""
    found = list(names)
    more = len(found) - _MOST_NAMED
    return ", ".join(found[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


#: code → what it is about, and the answer.
ASKED: Mapping[str, tuple[Topic, Callable[[f.Facts], _Answer]]] = {
    "confinement": ("confinement", _level),
    "processes": ("confinement", _confined),
    "refused": ("confinement", _refused),
    "users": ("confinement", _own_user),
    "seal": ("confinement", _sealed),
    "networks": ("network", _apart),
    "sockets": ("network", _quiet),
    "control": ("network", _control),
    "listening": ("network", _listening),
    "connections": ("network", _connections),
    "unseen": ("network", _unseen),
    "firewall": ("network", _filtered),
    "mode": ("leaving", _mode),
    "allowed": ("leaving", _allowed),
    "ledger": ("leaving", _ledger),
    "itself": ("leaving", _itself),
    "telemetry": ("leaving", _telemetry),
    "engines": ("leaving", _engines),
    "models": ("models", _models),
    "software": ("software", _software),
    "settings": ("software", _settings),
    "downgrades": ("software", _downgrades),
    "log": ("log", _log),
    "anchors": ("log", _anchors),
}
#: In which order topics are told, and how they are called.
TOPICS: Sequence[tuple[Topic, str]] = (
    ("confinement", "What confines the models, and the service"),
    ("network", "What reaches a network"),
    ("leaving", "What may leave the machine, and what did"),
    ("models", "The models"),
    ("software", "What is installed, and how it is set"),
    ("log", "The log, and who holds copies of it"),
)
