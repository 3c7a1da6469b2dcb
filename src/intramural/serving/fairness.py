"""Whose turn it is: start-time fair queueing over a tree of owners, pure.

Everybody has a *path* in a tree (a person, below them their keys; any depth). At each node the children share what the
node gets by their weights. A child's *tag* is the virtual time up to which it has used its share; whoever's tag is
least goes next, the earliest arrival among equals. Being served moves the tag on by cost over weight; who comes back
after a pause begins where the others are now, so that nobody saves up. Who sends twenty requests therefore waits behind
their own, not in front of others.

Costs are in tokens of prompt: a token that is written counts as `DECODE_COST` of them. When a slot is given the cost is
an estimate; when it is given back the difference to what was measured is settled. (Goyal, Vin and Cheng 1996, for
several servers as in Jin, Chase and Kaur 2004; charging by tokens as in Sheng et al. 2024.)

Before all that comes the class of the work. A class waits for those before it, but not for ever: once a flow (a path in
a class) has had nothing for `ageing_s`, its first ticket counts one class higher, after twice that two. It is the flow
that ages, not the ticket: else a long queue of one person would grow old together and pass everybody else.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from math import inf
from operator import attrgetter, itemgetter
from types import MappingProxyType
from typing import Protocol, TypeVar

import msgspec
from msgspec.structs import replace

from intramural.core.work import Work

#: One written token takes about as long as this many read ones (4 to 10 on the processors we measured).
DECODE_COST = 4.0
#: Weight of the newest answer in the running mean of what answers cost.
_MEAN_WEIGHT = 0.1
_FIRST_MEAN = 200 * DECODE_COST
_LEAST_WEIGHT, _MOST_WEIGHT = 0.01, 100.0

#: Whoever has no answer in the making goes first while they are ahead of the others by no more typical answers.
_LEAD = 3
#: Whoever always has an answer in the making can be behind their share by so many typical ones.
_SAVED = 20
#: By so much longer an answer may be read than it is written before it pauses: nobody notices as little.
_READ_MORE_S = 0.1

Path = tuple[str, ...]


class Owner(msgspec.Struct, frozen=True):
    """Whom a ticket belongs to. `path` from the root (group, person, key: as many as there are), `weights` beside it.
    The last but one is a person, all of whose keys are one: who has a slot and who has none is asked of them.

    `tenant` shares what a worker has computed with nobody else (a person; "": nobody, not even with the next one).
    `passing`: nothing of it may be stored.
    `repeatable`: nobody has seen anything of it before its end, so that it can be stopped and begun again.
    """

    path: Path = ("",)
    weights: tuple[float, ...] = ()
    work: Work = Work.INTERACTIVE
    repeatable: bool = False
    tenant: str = ""
    passing: bool = False

    @property
    def person(self) -> Path:
        """The node of the person, whatever key they ask with."""
        return self.path[:-1] or self.path

    def levels(self) -> "tuple[tuple[Path, float], ...]":
        """Every node on the way down, with its weight."""
        return _levels(self.path, self.weights)


@lru_cache(maxsize=4096)  # asked for several times for everybody who waits, at every event
def _levels(path: Path, weights: tuple[float, ...]) -> tuple[tuple[Path, float], ...]:
    given = (*weights[: len(path)], *(1.0 for _ in path[len(weights) :]))
    return tuple(
        (path[: depth + 1], min(_MOST_WEIGHT, max(_LEAST_WEIGHT, weight))) for depth, weight in enumerate(given)
    )


NOBODY = Owner()


def cost_of(read_tokens: float, written_tokens: float) -> float:
    """What it cost to read and write so many tokens (not counting those that were in the cache)."""
    return max(0.0, read_tokens) + DECODE_COST * max(0.0, written_tokens)


class Begun(msgspec.Struct, frozen=True):
    """A part of an answer is written, and it is to go on. `asked_s`: when it was first asked for; `ahead_s`: for how
    much longer it was written so far than its prompt was read, each time it was."""

    asked_s: float
    ahead_s: float = 0.0


class Open(msgspec.Struct, frozen=True):
    """A ticket that has a slot since `granted_s`, and what was charged for it so far. `pausable_s`: since when it could
    be gone on with later, which is when its prompt had been read. `ahead_s`: see `Begun`."""

    owner: Owner
    charged: float
    read_tokens: float
    granted_s: float = 0.0
    pausable_s: float | None = None
    ahead_s: float = 0.0

    def pause_s(self, slice_s: float) -> float | None:
        """When it may be paused after a slice of `slice_s`; None: never. What has to be read again before it goes on
        is written for about as long in all as it was read, whatever the slice: half of the time goes into writing."""
        if self.pausable_s is None:
            return None
        return self.pausable_s + max(slice_s, self.pausable_s - self.granted_s - self.ahead_s - _READ_MORE_S)


def _none() -> MappingProxyType[Path, float]:
    return MappingProxyType({})


class Ledger(msgspec.Struct, frozen=True):
    """Who has used what. `tags`: of every node; `open`: tickets with slots; `served_s`: when each flow was last given a
    slot; `typical`: the mean cost of writing an answer."""

    tags: Mapping[Path, float] = msgspec.field(default_factory=_none)
    open: Mapping[str, Open] = msgspec.field(default_factory=lambda: MappingProxyType({}))
    served_s: Mapping[tuple[Path, Work], float] = msgspec.field(default_factory=lambda: MappingProxyType({}))
    typical: float = _FIRST_MEAN

    def estimate(self, read_tokens: float) -> float:
        """What a ticket will probably cost whose prompt has about `read_tokens`."""
        return read_tokens + self.typical

    def pausable(self, ticket: str, now_s: float) -> "Ledger":
        """From now on `ticket` may be stopped and gone on with."""
        if ticket not in self.open:
            return self
        return replace(self, open=MappingProxyType({**self.open, ticket: replace(self.open[ticket], pausable_s=now_s)}))

    def joined(self, owner: Owner, waiting: Iterable[Owner]) -> "Ledger":
        """`owner` begins to wait beside `waiting`. A node that nobody waited at begins at the present: where the least
        of its busy siblings is, not counting what is only estimated so far. One that is being answered was not away: it
        keeps what it is behind, within bounds."""
        waited = {node for each in waiting for node, _ in each.levels()}
        busy = waited | {node for each in self.open.values() for node, _ in each.owner.levels()}
        tags, settled = dict(self.tags), self._settled()
        for node, _ in owner.levels():
            siblings = [settled.get(each, 0.0) for each in busy if each[:-1] == node[:-1] and each != node]
            if node not in waited:
                present = min(siblings, default=0.0) - (_SAVED * self.typical if node in busy else 0.0)
                tags[node] = max(tags.get(node, 0.0), present)
        return replace(self, tags=MappingProxyType(tags))

    def _settled(self) -> Mapping[Path, float]:
        """The tags without what is charged for answers that are still written."""
        settled = dict(self.tags)
        for each in self.open.values():
            _charge(settled, each.owner, -each.charged)
        return settled

    def granted(self, ticket: str, owner: Owner, read_tokens: float, now_s: float, ahead_s: float = 0.0) -> "Ledger":
        """`ticket` was given a slot: the estimate is charged. `ahead_s`: see `Begun`."""
        charged = self.estimate(read_tokens)
        return replace(
            self,
            tags=_charged(self.tags, owner, charged),
            open=MappingProxyType({**self.open, ticket: Open(owner, charged, read_tokens, now_s, None, ahead_s)}),
            served_s=MappingProxyType({**self.served_s, (owner.path, owner.work): now_s}),
        )

    def left(self, ticket: str, cost: float | None, waiting: Iterable[Owner]) -> "Ledger":
        """`ticket` gave its slot back, having cost `cost` (None: nobody knows, so the estimate stands).

        Where nobody is busy any more a new time begins, and what was used is forgotten.
        """
        ended = self.open.get(ticket)
        if ended is None:
            return self
        tags, typical = self.tags, self.typical
        if cost is not None:
            tags = _charged(tags, ended.owner, cost - ended.charged)
            typical += _MEAN_WEIGHT * (max(0.0, cost - ended.read_tokens) - typical)
        rest = {name: each for name, each in self.open.items() if name != ticket}
        owners = (*waiting, *(each.owner for each in rest.values()))
        busy = {node for each in owners for node, _ in each.levels()}
        settled = replace(self, tags=tags, open=rest)._settled()
        least: dict[Path, float] = {}
        for node in busy:
            least[node[:-1]] = min(least.get(node[:-1], inf), settled.get(node, 0.0))
        kept = {node: tag for node, tag in tags.items() if node in busy or tag > least.get(node[:-1], inf)}
        return Ledger(
            tags=MappingProxyType(kept),
            open=MappingProxyType(rest),
            served_s=MappingProxyType({key: time for key, time in self.served_s.items() if key[0] in kept}),
            typical=typical,
        )


def _charged(tags: Mapping[Path, float], owner: Owner, cost: float) -> Mapping[Path, float]:
    changed = dict(tags)
    _charge(changed, owner, cost)
    return MappingProxyType(changed)


def _charge(tags: dict[Path, float], owner: Owner, cost: float) -> None:
    for node, weight in owner.levels():
        tags[node] = tags.get(node, 0.0) + cost / weight


class Ticket(Protocol):
    """What is looked at in somebody who waits."""

    @property
    def owner(self) -> Owner: ...
    @property
    def since_s(self) -> float: ...
    @property
    def asked_s(self) -> float: ...
    @property
    def begun(self) -> Begun | None: ...
    @property
    def number(self) -> int: ...
    @property
    def read_tokens(self) -> float: ...


_Ticket = TypeVar("_Ticket", bound=Ticket)
_ARRIVAL = attrgetter("asked_s", "number")


def ordered(
    ledger: Ledger,
    tickets: Sequence[_Ticket],
    now_s: float,
    ageing_s: float,
) -> list[_Ticket]:
    """`tickets` in the order in which their turns come, if each costs what is expected."""
    classes: dict[int, list[_Ticket]] = {}
    begun: set[tuple[Path, Work]] = set()
    for ticket in sorted(tickets, key=_ARRIVAL):
        rank, flow = int(ticket.owner.work), (ticket.owner.path, ticket.owner.work)
        if flow not in begun:  # the first of its flow, which ages
            begun.add(flow)
            idle_s = max(0.0, now_s - max(ticket.since_s, ledger.served_s.get(flow, ticket.since_s)))
            rank = max(int(Work.FIRST), rank - int(idle_s // ageing_s))
        classes.setdefault(rank, []).append(ticket)
    turns: list[_Ticket] = []
    for _, each in sorted(classes.items()):
        turns += _empty_handed_first(ledger, _turns(ledger, each))
    return turns


def _empty_handed_first(ledger: Ledger, turns: list[_Ticket]) -> list[_Ticket]:
    """One ticket of everybody who has no answer in the making goes before the others, new questions first: they are
    gone on with later, when their tags say so. Who is too far ahead of the others waits for their turn, and so does
    whoever's group is too far ahead of the other groups."""
    running = {each.owner.person for each in ledger.open.values()}
    heads: dict[Path, _Ticket] = {}
    for ticket in turns:
        heads.setdefault(ticket.owner.person, ticket)
    least: dict[Path, float] = {}
    for person in heads:
        for depth in range(len(person)):
            tag = ledger.tags.get(person[: depth + 1], 0.0)
            least[person[:depth]] = min(least.get(person[:depth], inf), tag)
    fronts = []
    for person, ticket in heads.items():
        far_ahead = any(
            ledger.tags.get(node, 0.0) - least[node[:-1]] > _LEAD * ledger.typical / weight
            for node, weight in ticket.owner.levels()[: len(person)]
        )
        if person not in running and not far_ahead:
            fronts.append(ticket)
    first = {ticket.number for ticket in fronts}
    others = [ticket for ticket in turns if ticket.number not in first]
    return [*(t for t in fronts if t.begun is None), *(t for t in fronts if t.begun is not None), *others]


def _turns(ledger: Ledger, tickets: Sequence[_Ticket], depth: int = 0) -> list[_Ticket]:
    """`tickets`, in the order of their arrival, in that of their turns: a child's next one begins where the one before
    ends, in the child's virtual time, and what begins first is next. A node's own tickets go before its children's."""
    children: dict[str, list[_Ticket]] = {}
    own: list[_Ticket] = []
    for ticket in tickets:
        path = ticket.owner.path
        if depth < len(path):
            children.setdefault(path[depth], []).append(ticket)
        else:
            own.append(ticket)
    if len(children) == 1:
        return own + _turns(ledger, next(iter(children.values())), depth + 1)
    begins: list[tuple[float, float, int, int, _Ticket]] = []
    typical = ledger.typical
    for each in children.values():
        first = each[0]
        node, weight = first.owner.levels()[depth]
        tag = ledger.tags.get(node, 0.0)
        one_flow = len(each) == 1 or len({ticket.owner.path for ticket in each}) == 1
        for place, ticket in enumerate(each if one_flow else _turns(ledger, each, depth + 1)):
            begins.append((tag, first.asked_s, first.number, place, ticket))
            tag += (ticket.read_tokens + typical) / weight  # see `Ledger.estimate`
    begins.sort(key=itemgetter(0, 1, 2, 3))
    return own + [begin[-1] for begin in begins]
