"""Asking a model: policy, the queue, the answer, the meter and the log, the same for every dialect.

The order is the promise. What quotas allow is held before the model is asked. The question is recorded while the model
already reads the prompt, and nothing of the answer leaves before that record is on the disk. The meter's row, the
charge to quotas and the answer's record are one transaction, with what else is to be kept of the answer, and the last
event leaves after it. Whoever ends it (the model, the client, a dying worker), all are written.
"""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from msgspec.structs import replace

from intramural.access import ANYTHING, Action, Thing
from intramural.audit import After, AuditLog, Beside, Event, Fact
from intramural.core.actor import Actor
from intramural.core.chat import ChatEvent, ChatRequest, Embeddings, Ranking, Usage
from intramural.core.clock import Clock
from intramural.core.errors import IntramuralError, Misasked, QuotaSpent, Throttled, Unauthenticated, Unavailable
from intramural.core.work import Work
from intramural.library import Manifest, applied
from intramural.metering import PAUSE_S, Dialect, Meter, Metrics, Operation, Timing, Traces, UsageRow
from intramural.metering import Outcome as Ending
from intramural.services import estimates, particulars, vectors
from intramural.services.gate import Gate, where
from intramural.services.guarding import Guarding
from intramural.services.media import Media
from intramural.services.models import Models
from intramural.services.quotas import LOOK_EVERY_S, Hold, Quotas
from intramural.services.shield import Shield
from intramural.services.standing import Again
from intramural.services.turns import Turns
from intramural.serving import ModelToServe, Pool, Repeated, Stream, Token, WaitNote

ReadNote = Callable[[Usage], None]
_Counted = TypeVar("_Counted", Embeddings, Ranking)
#: What is written down when it is asked, and when it is over.
_EVENTS: Mapping[Operation, tuple[Event, Event]] = {
    "chat": (Event.CHAT_ASKED, Event.CHAT_ANSWERED),
    "completion": (Event.CHAT_ASKED, Event.CHAT_ANSWERED),
    "embedding": (Event.EMBEDDING_ASKED, Event.EMBEDDING_ANSWERED),
    "rerank": (Event.RERANK_ASKED, Event.RERANK_ANSWERED),
}

#: The engine takes seeds below this, and this one for "choose one": then nobody would know which.
_SEEDS = 2**32 - 1
#: Of so many requests it is known which model answers them, for the headers of their answers.
_WRITERS = 4_096
#: Where nobody told how many a vocabulary has.
_MOST_TOKENS = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Ended:
    """How an answer ended. `error`: what was raised, if anything that has a name."""

    outcome: Ending
    usage: Usage
    error: IntramuralError | None


#: What is kept of an answer besides its record: asked once, when it has ended, and committed with that.
Keeping = Callable[[Ended], Sequence[Beside | After]]


@dataclass(slots=True)
class _Run:
    """One generation on its way: what will be written down about it."""

    actor: Actor
    manifest: Manifest
    request_id: str
    dialect: Dialect
    operation: Operation
    rule: str
    began_s: float
    work: Work
    keeping: Keeping | None = None
    outcome: Ending = "failed"
    error: IntramuralError | None = None
    hold: Hold | None = None
    first_s: float | None = None
    seed_given: bool = False
    #: Why it may not go on, as soon as whoever asked is not let in any more; and who waits for it meanwhile.
    shut: IntramuralError | None = None
    task: "asyncio.Task[Any] | None" = field(default_factory=asyncio.current_task)
    #: Done when the question is on the disk; None before the model is at work.
    asked: "asyncio.Future[Any] | None" = None
    #: When it had its slot, where that is not told by its first piece.
    begun_s: float | None = None
    said: particulars.Said = field(default_factory=particulars.Said)
    shield: Shield | None = None
    told: Mapping[str, Fact] = field(default_factory=dict)
    #: Nothing that is said is kept anywhere, whatever the settings are.
    passing: bool = False

    def engine_ms(self, usage: Usage, now_s: float) -> float:
        """How long it has had the engine: as that counts, else since it had its slot or its first piece came."""
        counted_ms = usage.prompt_ms + usage.completion_ms
        began_s = self.begun_s if self.begun_s is not None else self.first_s
        return counted_ms if counted_ms or began_s is None else (now_s - began_s) * 1000


class Inference:
    """Generations and embeddings for an actor."""

    def __init__(
        self,
        gate: Gate,
        models: Models,
        media: Media,
        pool: Pool,
        audit: AuditLog,
        meter: Meter,
        metrics: Metrics,
        traces: Traces,
        clock: Clock,
        turns: Turns,
        quotas: Quotas,
        guard: Guarding,
        most_at_once: int,
        *,
        labels: bool = True,
    ) -> None:
        """`most_at_once`: how many requests of one person may be waiting or answered. `labels`: whether answers say
        that an AI wrote them; where a use of high risk is declared they do anyway.
        """
        self._labels = labels
        self._guard = guard
        self._turns = turns
        self._quotas = quotas
        self._gate = gate
        self._models = models
        self._media = media
        self._pool = pool
        self._audit = audit
        self._meter = meter
        self._metrics = metrics
        self._traces = traces
        self._clock = clock
        self._settling: set[asyncio.Task[None]] = set()
        self._most_at_once = most_at_once
        self._running: dict[str, _Run] = {}
        self._running_of: Counter[str] = Counter()  # by person
        self._fingerprints: dict[str, str] = {}  # by the name of the model, as it is asked for
        self._writers: OrderedDict[str, tuple[str, str]] = OrderedDict()

    async def answer(
        self,
        actor: Actor,
        request: ChatRequest,
        dialect: Dialect,
        operation: Operation,
        *,
        on_wait: WaitNote | None = None,
        on_read: ReadNote | None = None,
        keeping: Keeping | None = None,
        passing: bool = False,
        told: Mapping[str, Fact] | None = None,
    ) -> AsyncGenerator[ChatEvent, None]:
        """Answer `request` as `actor`: events as `core.chat` describes them, `Usage` last.

        `on_read` is called just before the first event, when the whole prompt has been read, with the counts of then.
        `keeping` is called once for every answer that began, before its end is seen here, and gives rows that are on
        the disk when it is. `passing`: nothing of it may be stored. `told`: what else the log is to say of it. Closing
        the generator cancels the generation.

        Raises Refused, Missing(`model_not_found`), Misasked(`context_length_exceeded`), Unavailable (queue, worker,
        log) or Untrusted (weights).
        """
        began_s = self._clock.monotonic_s()
        kept = dialect == "page" or (keeping is not None and not passing)
        thing = Thing(passing=not kept, tools=bool(request.tools))
        passing = passing or _is_temporary(actor, dialect)
        owner = self._turns.of(actor, passing=passing)
        async with self._counting_refusals(dialect, operation, owner.work):
            self._check_room(actor, owner.work)
            rule = await self._may_use(actor, request.model, request.id, thing)
            manifest = self._models.made_for("chat", request.model, actor)
            self._fingerprints[request.model] = particulars.fingerprint(manifest)
            self._told(actor, request.id, manifest)
            request = applied(await self._media.resolved(actor, request, manifest), manifest.defaults)
            request, shield = await self._guard.incoming(actor, request)
        run = _Run(actor, manifest, request.id, dialect, operation, rule, began_s, owner.work, keeping, shield=shield)
        run.told = told or {}
        run.passing = passing
        run.seed_given = request.sampling.seed is not None
        request = self._with_seed(request)
        async with self._counting_refusals(dialect, operation, run.work):
            served = self._models.to_serve(manifest, actor)
            run.hold = await self._held(actor, served, request)
            with self._let_go(run):
                stream = self._pool.chat(served, request, on_wait, owner)
        self._metrics.request_began(run.request_id, manifest.name, run.work, stream)
        # first the model gets to work: then writing costs the caller no time
        stream.under_way.then(partial(self._note_asked, run, partial(self._record_asked, run, request)))
        last: Usage | None = None
        self._entered(run)
        timed = run.hold is not None and run.hold.least_ms > 0
        watching = asyncio.ensure_future(self._watch(run, lambda: stream.usage)) if timed else None
        try:
            async for event in stream:
                if run.shut is not None:
                    raise run.shut
                if run.first_s is None:
                    run.first_s = self._clock.monotonic_s()
                    assert run.asked is not None, "the model is at work, so the question is being recorded"
                    await asyncio.shield(run.asked)
                    if run.hold is not None:
                        self._quotas.prompt_read(run.hold, stream.usage)
                    if on_read is not None:
                        on_read(stream.usage)
                if isinstance(event, Usage):
                    last = event
                    continue
                for noted, shown in ((event, event),) if shield is None else await shield.told(event):
                    run.said.note(noted)
                    yield shown
                if run.hold is not None and run.hold.note():
                    self._quotas.grow(run.hold, stream.usage)
                if timed:
                    self._time_passed(run, stream.usage)
            run.outcome = "finished"
        except IntramuralError as error:
            run.error = error
            raise
        except asyncio.CancelledError:
            run.outcome = "cancelled"
            _raise_shut(run)
            raise
        except GeneratorExit:
            run.outcome = "cancelled"
            raise
        finally:
            self._left(run)
            if watching is not None:
                watching.cancel()
            try:
                await self._end(run, stream)
            finally:
                self._metrics.request_left(run.request_id)
        if last is not None:
            yield last

    async def embed(
        self,
        actor: Actor,
        model: str,
        inputs: Sequence[str | tuple[int, ...]],
        dialect: Dialect,
        request_id: str,
        *,
        dimensions: int | None = None,
        cut: bool = False,
        labels: Mapping[str, str] | None = None,
    ) -> Embeddings:
        """One vector of length 1 per input, with the first `dimensions` numbers if that is given.

        With `cut`, of the beginning of a text that is too long. Errors as for `answer`; Misasked(`too_many_dimensions`)
        where the model's vectors have fewer.
        """
        run = await self._begun(actor, "embedding", model, dialect, request_id)
        width = run.manifest.shape.embedding_length
        texts, run.shield = await self._guard.texts(actor, inputs, request_id)
        if dimensions is not None and 0 < width < dimensions:  # 0: an engine elsewhere has it, and did not tell
            raise vectors.too_many(run.manifest.name, dimensions, width)
        facts: dict[str, Fact] = {"inputs": len(inputs), "dimensions": dimensions}
        served = self._models.to_serve(run.manifest, actor)
        await self._hold_texts(run, served, texts)
        result = await self._whole(
            run,
            facts,
            labels,
            self._pool.embed(
                served, texts, cut=cut, owner=self._turns.of(actor), on_begin=partial(self._slot_had, run)
            ),
        )
        return result if dimensions is None else vectors.shortened(result, dimensions, run.manifest.name)

    async def rerank(
        self,
        actor: Actor,
        model: str,
        query: str,
        documents: Sequence[str],
        dialect: Dialect,
        request_id: str,
        *,
        max_tokens_per_document: int | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> Ranking:
        """How well each document answers `query`, from 0 to 1. Longer ones are cut to `max_tokens_per_document`.

        Errors as for `answer`.
        """
        run = await self._begun(actor, "rerank", model, dialect, request_id)
        (query, *documents), run.shield = await self._guard.texts(actor, [query, *documents], request_id)
        facts: dict[str, Fact] = {"documents": len(documents), "max_tokens": max_tokens_per_document}
        served = self._models.to_serve(run.manifest, actor)
        await self._hold_texts(run, served, [text for each in documents for text in (query, each)])
        result = await self._whole(
            run,
            facts,
            labels,
            self._pool.rerank(
                served, query, documents, max_tokens_per_document, self._turns.of(actor), partial(self._slot_had, run)
            ),
        )
        return vectors.relevance(result, run.manifest.architecture)

    async def tokenize(
        self, actor: Actor, model: str, text: str, request_id: str, *, special: bool, marks: bool
    ) -> tuple[Token, ...]:
        """The model's tokens of `text` (see `serving.vectors`). Nothing is generated, so nothing is metered."""
        await self._may_use(actor, model, request_id)
        served = self._models.to_serve(self._models.manifest(model), actor)
        return await self._pool.tokenize(served, text, special=special, marks=marks)

    async def rendered(self, actor: Actor, request: ChatRequest) -> str:
        """The conversation of `request` as its model reads it. Errors as for `answer`; nothing is metered."""
        await self._may_use(actor, request.model, request.id)
        manifest = self._models.made_for("chat", request.model, actor)
        request, _ = await self._guard.incoming(actor, await self._media.resolved(actor, request, manifest))
        return await self._pool.rendered(self._models.to_serve(manifest, actor), request)

    async def detokenize(self, actor: Actor, model: str, tokens: Sequence[int], request_id: str) -> str:
        """The text of `tokens`. Raises Misasked(`invalid_token`) for one that the model does not have."""
        await self._may_use(actor, model, request_id)
        manifest = self._models.manifest(model)
        size = manifest.shape.vocabulary_size or _MOST_TOKENS
        if not all(0 <= token < size for token in tokens):
            message = f"There is a number that is no token of {model}, which has {size}."
            raise Misasked("invalid_token", message, "Send tokens that this model's tokenizer made.", param="tokens")
        return await self._pool.detokenize(self._models.to_serve(manifest, actor), tokens)

    async def count_tokens(self, actor: Actor, request: ChatRequest) -> int:
        """How many tokens the prompt of `request` has, by the model's own tokenizer. Nothing is generated, so nothing
        is metered. Errors as for `answer`.
        """
        await self._gate.require(actor, Action.MODEL_USE, target=f"model:{request.model}", model=request.model)
        manifest = self._models.manifest(request.model)
        request = applied(await self._media.resolved(actor, request, manifest), manifest.defaults)
        return await self._pool.count_tokens(self._models.to_serve(manifest, actor), request)

    async def forget(self, person_id: str) -> None:
        """This person has deleted something: what models have computed for them so far is on no disk any more."""
        await self._pool.forget(person_id, for_good=False)

    def fingerprint(self, model: str) -> str:
        """A short name of what computes `model`'s answers: for the last that was begun, else now. Raises
        Missing(`model_not_found`)."""
        return self._fingerprints.get(model) or particulars.fingerprint(self._models.manifest(model))

    async def may_follow(self, actor: Actor, request_id: str, *, cancel: bool = False) -> None:
        """Return if `actor` may read their own running answer further, or cancel it. Raises Refused."""
        action = Action.STREAMS_CANCEL if cancel else Action.STREAMS_READ
        await self._gate.require(actor, action, target=f"stream:{request_id}", owner_id=actor.person_id)

    async def shut_out(self, again: Again) -> int:
        """End what runs for who is not let in any more, as `again` says, or whose guardian does not consent to it any
        more; how much that was.

        Who waits is told so in the words of that error. An answer on its way ends before its next token.
        """
        ended: dict[tuple[str, str, str, str | None, str], IntramuralError | None] = {}
        for run in list(self._running.values()):
            actor = run.actor
            who = (actor.kind, actor.person_id, actor.credential_id, actor.workspace, actor.purpose)
            if actor.kind != "system" and who not in ended:
                try:
                    ended[who] = self._lapsed(await again(*who))
                except Unauthenticated as refused:
                    ended[who] = refused
            why = ended.get(who)
            if why is not None and run.shut is None:
                run.shut = why
                if run.first_s is None and run.task is not None and run.request_id in self._running:
                    run.task.cancel()  # it waits for its turn, or for the model to have read
        return sum(why is not None for why in ended.values())

    def _lapsed(self, actor: Actor) -> IntramuralError | None:
        """What to tell somebody who needs a consent that there is not any more; of other rules the next request is."""
        decision = self._gate.decide(actor, Action.MODEL_USE)
        return decision.refusal() if decision.rule == "consent_needed" else None

    async def drained(self) -> None:
        """Wait until everything that ended is written down (before closing the log)."""
        while self._settling:
            await asyncio.wait(self._settling)

    def _check_room(self, actor: Actor, work: Work) -> None:
        """Whoever has very many requests under way is told to wait before anything is done for the next.

        Raises Throttled(`too_many_at_once`).
        """
        if work is Work.BATCH or actor.kind == "system" or self._running_of[actor.person_id] < self._most_at_once:
            return
        message = f"{self._most_at_once} requests of yours are waiting or being answered already."
        raise Throttled("too_many_at_once", message, "Wait for one of them.", retry_after_s=1.0)

    def _entered(self, run: _Run) -> None:
        self._running[run.request_id] = run
        self._running_of[run.actor.person_id] += 1

    def _left(self, run: _Run) -> None:
        if self._running.pop(run.request_id, None) is not None:
            self._running_of[run.actor.person_id] -= 1
            if not self._running_of[run.actor.person_id]:
                del self._running_of[run.actor.person_id]

    def written_by(self, request_id: str) -> tuple[str, str] | None:
        """Name and digest (empty: of an engine elsewhere) of the model that answers a request, for the label of its
        answer; None: no model does, or answers are not labelled."""
        return self._writers.get(request_id)

    def labels(self, actor: Actor) -> bool:
        """Whether what a model writes where `actor` asks now says that an AI wrote it."""
        return self._labels or (actor.place is not None and bool(actor.place.uses))

    def _told(self, actor: Actor, request_id: str, manifest: Manifest) -> None:
        if not self.labels(actor):
            return
        self._writers[request_id] = (manifest.name, manifest.digest)
        if len(self._writers) > _WRITERS:
            self._writers.popitem(last=False)

    async def _may_use(self, actor: Actor, model: str, request_id: str, thing: Thing = ANYTHING) -> str:
        """The rule that allows it."""
        target = f"model:{model}"
        decision = await self._gate.require(
            actor, Action.MODEL_USE, target=target, model=model, thing=thing, request_id=request_id
        )
        return decision.rule

    async def _begun(self, actor: Actor, operation: Operation, model: str, dialect: Dialect, request_id: str) -> _Run:
        began_s = self._clock.monotonic_s()
        work = self._turns.of(actor).work
        async with self._counting_refusals(dialect, operation, work):
            self._check_room(actor, work)
            rule = await self._may_use(actor, model, request_id)
            manifest = self._models.made_for("rerank" if operation == "rerank" else "embedding", model, actor)
        run = _Run(actor, manifest, request_id, dialect, operation, rule, began_s, work)
        run.passing = _is_temporary(actor, dialect)
        return run

    async def _held(self, actor: Actor, served: ModelToServe, request: ChatRequest) -> Hold | None:
        """What quotas hold for `request`. Raises as `Quotas.reserve`."""
        if not self._quotas.limits(actor):
            return None
        context = served.plan.context_tokens
        most = request.sampling.max_tokens
        return await self._quotas.reserve(
            actor,
            request.model,
            request.id,
            estimates.of_chat(request, context),
            None if most is None else min(most, context) * request.choices,
            partial(self._pool.count_tokens, served, request),
        )

    async def _hold_texts(self, run: _Run, served: ModelToServe, texts: Sequence[str | tuple[int, ...]]) -> None:
        """As `_held`, for texts that are read and not answered."""
        if not self._quotas.limits(run.actor):
            return

        async def count() -> int:
            tokenized = [
                await self._pool.tokenize(served, text, special=True, marks=True) for text in texts if type(text) is str
            ]
            return sum(map(len, tokenized)) + sum(len(text) for text in texts if type(text) is not str)

        most = estimates.of_texts(texts)
        name = run.manifest.name
        async with self._counting_refusals(run.dialect, run.operation, run.work):
            run.hold = await self._quotas.reserve(run.actor, name, run.request_id, most, 0, count)

    @contextmanager
    def _let_go(self, run: _Run) -> Iterator[None]:
        """What `run` holds is let go of where the block raises."""
        try:
            yield
        except BaseException:
            self._quotas.let_go(run.hold)
            raise

    def _counting_refusals(self, dialect: Dialect, operation: Operation, work: Work) -> "_CountingRefusals":
        return _CountingRefusals(partial(self._metrics.request_refused, dialect, operation, work))

    async def _whole(
        self,
        run: _Run,
        facts: Mapping[str, Fact],
        labels: Mapping[str, str] | None,
        work: Coroutine[Any, Any, _Counted],
    ) -> _Counted:
        """Do `work`, which is no stream; what was asked and what came of it are written down."""
        self._note_asked(run, partial(self._record_whole, run, facts, labels or {}))
        usage = Usage(0, 0)
        self._entered(run)
        timed = run.hold is not None and run.hold.least_ms > 0
        watching = asyncio.ensure_future(self._watch(run, lambda: usage)) if timed else None
        try:
            result = await work
            usage = Usage(result.prompt_tokens, 0, prompt_ms=result.engine_ms)
            run.outcome = "finished"
        except IntramuralError as error:
            run.error = error
            raise
        except asyncio.CancelledError:
            run.outcome = "cancelled"
            _raise_shut(run)
            raise
        finally:
            self._left(run)
            if watching is not None:
                watching.cancel()
            await self._settled(run, usage, 0.0)
        return result

    def _slot_had(self, run: _Run) -> None:
        run.begun_s = self._clock.monotonic_s()

    def _time_passed(self, run: _Run, usage: Usage) -> None:
        assert run.hold is not None
        self._quotas.time_passed(run.hold, run.engine_ms(usage, self._clock.monotonic_s()))

    async def _watch(self, run: _Run, usage: Callable[[], Usage]) -> None:
        """Stop `run` where the engine time held for it is used up while nothing comes, and there is no more of it."""
        while run.shut is None:
            await asyncio.sleep(LOOK_EVERY_S)
            try:
                self._time_passed(run, usage())
            except QuotaSpent as spent:
                run.shut = spent
                if run.first_s is None and run.task is not None and run.request_id in self._running:
                    run.task.cancel()  # else it ends before its next piece

    def _record_whole(self, run: _Run, facts: Mapping[str, Fact], labels: Mapping[str, str]) -> "asyncio.Future[int]":
        manifest = run.manifest
        return self._audit.record(
            _EVENTS[run.operation][0],
            run.actor,
            target=f"model:{manifest.name}",
            request_id=run.request_id,
            facts={
                "dialect": run.dialect,
                "operation": run.operation,
                **where(run.actor),
                **facts,
                "weights": manifest.digest or None,
                "model": particulars.model(manifest),
                "rule": run.rule,
                **({} if run.shield is None else run.shield.asked_facts()),
            },
            texts=particulars.labelled(labels),
            beside=self._quotas.asked_rows(run.hold),
            passing=run.passing,
        )

    def _with_seed(self, request: ChatRequest) -> ChatRequest:
        """`request` with the seed that the engine will use: the client's, or one chosen here so that it is known."""
        given = request.sampling.seed
        seed = int.from_bytes(self._clock.token_bytes(8), "big") if given is None else given
        return replace(request, sampling=replace(request.sampling, seed=seed % _SEEDS))

    def _note_asked(self, run: _Run, record: Callable[[], "asyncio.Future[int]"]) -> None:
        """Begin to record the question; what is wrong with that is raised where `run.asked` is awaited."""
        try:
            run.asked = record()
        except Exception as error:  # noqa: BLE001 (as said)
            run.asked = asyncio.get_running_loop().create_future()
            run.asked.set_exception(error)

    def _record_asked(self, run: _Run, request: ChatRequest) -> "asyncio.Future[int]":
        facts: dict[str, Fact] = {
            "dialect": run.dialect,
            "operation": run.operation,
            **where(run.actor),
            **particulars.asked(
                request,
                run.manifest,
                run.rule,
                seed_given=run.seed_given,
                computed=self._models.computed(run.manifest),
            ),
            **({} if run.shield is None else run.shield.asked_facts()),
            **run.told,
        }
        return self._audit.record(
            Event.CHAT_ASKED,
            run.actor,
            target=f"model:{run.manifest.name}",
            request_id=run.request_id,
            facts=facts,
            texts=particulars.asked_texts(request),
            beside=self._quotas.asked_rows(run.hold),
            passing=run.passing,
        )

    async def _end(self, run: _Run, stream: Stream | Repeated) -> None:
        await stream.aclose()
        await self._settled(run, stream.usage, stream.waited_ms)

    async def _settled(self, run: _Run, usage: Usage, waited_ms: float) -> None:
        """Write the ending, even when the caller is being cancelled: the task outlives it."""
        task = asyncio.ensure_future(self._settle(run, usage, waited_ms))
        self._settling.add(task)
        task.add_done_callback(self._settling.discard)
        task.add_done_callback(lambda done: done.cancelled() or done.exception())  # whoever asked may have left
        await asyncio.shield(task)

    async def _settle(self, run: _Run, usage: Usage, waited_ms: float) -> None:
        with self._let_go(run):
            assert run.asked is not None, "whoever has closed the stream has recorded the question"
            await run.asked
        row = UsageRow(
            request_id=run.request_id,
            time_ms=int(self._clock.now_s() * 1000),
            person_id=run.actor.person_id,
            credential_id=run.actor.credential_id,
            model=run.manifest.name,
            weights_digest=run.manifest.digest,
            dialect=run.dialect,
            operation=run.operation,
            outcome=run.outcome,
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            cached_tokens=usage.cached_tokens,
            prompt_ms=usage.prompt_ms,
            completion_ms=usage.completion_ms,
            waited_ms=waited_ms,
        )
        ended_s = self._clock.monotonic_s()
        first_ms = None if run.first_s is None else (run.first_s - run.began_s) * 1000
        took_ms = (ended_s - run.began_s) * 1000
        facts: dict[str, Fact] = {
            "weights": row.weights_digest or None,
            "reasons": run.said.reasons,
            "error": None if run.error is None else run.error.code,
            **particulars.answered(usage, waited_ms=waited_ms, first_ms=first_ms, took_ms=took_ms),
        }
        charged = self._quotas.settle(run.hold, usage, run.engine_ms(usage, ended_s))
        if run.shield is not None:
            facts |= run.shield.answered_facts()
            self._guard.answered(run.shield)
        rows: Sequence[Beside | After] = ()
        try:
            rows = () if run.keeping is None else run.keeping(Ended(run.outcome, usage, run.error))
        finally:  # whatever is wrong with those
            try:
                await self._record_ending(run, row, facts, rows, charged)
            finally:  # and whether or not it is on the disk
                written_s = self._clock.monotonic_s() - ended_s
                timing = Timing(None if first_ms is None else first_ms / 1000, took_ms / 1000, written_s)
                code = None if run.error is None else run.error.code
                self._metrics.request_ended(row, timing, run.work, code)
                self._traces.ended(row, timing, run.work, code)

    async def _record_ending(
        self,
        run: _Run,
        row: UsageRow,
        facts: Mapping[str, Fact],
        rows: Sequence[Beside | After],
        charged: Sequence[Beside],
    ) -> None:
        """The record, the meter's row, what is `charged` and `rows` together; should those not go in, all without
        `rows`."""
        record = partial(
            self._audit.record,
            _EVENTS[run.operation][1],
            run.actor,
            target=f"model:{run.manifest.name}",
            outcome=run.outcome,
            request_id=run.request_id,
            facts=facts,
            texts=run.said.texts() if run.operation in ("chat", "completion") else {},
            passing=run.passing,
        )
        metered = (Beside(*self._meter.insertion(row)), *charged)
        try:
            await record(beside=(*metered, *rows))
        except Unavailable:
            if rows:
                await record(beside=metered)
                self._quotas.written(run.hold)
            raise
        self._quotas.written(run.hold)


class _CountingRefusals:
    """`count` is told the code of what refuses. (As a generator, entering and leaving it would cost ten times that.)"""

    __slots__ = ("_count",)

    def __init__(self, count: Callable[[str], None]) -> None:
        self._count = count

    async def __aenter__(self) -> None:
        return None

    async def __aexit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, IntramuralError):
            self._count(error.code)
            if isinstance(error, Throttled):
                await asyncio.sleep(PAUSE_S)


def _is_temporary(actor: Actor, dialect: Dialect) -> bool:
    """What the page asks beside its kept chats it asks for temporary ones: of those nothing is stored."""
    return actor.kind == "person" and dialect != "page"


def _raise_shut(run: _Run) -> None:
    """Where `run` was cancelled because its person was shut out: raise that instead. Whoever else cancelled is left."""
    if run.shut is None or run.task is None or run.task is not asyncio.current_task():
        return
    run.task.uncancel()
    run.error = run.shut
    raise run.shut
