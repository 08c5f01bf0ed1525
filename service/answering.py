"""The visitor's story: gate, museum facts, engine, check. Reads from top to bottom; every collaborator is handed in."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import re
import time
import uuid
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from opentelemetry.trace import Span, Tracer, use_span

from gatekeeper import TopicFilter, Verdict
from service.admission import Admission
from service.book import Book
from service.cache import AnswerCache
from service.engine import Engine, Purpose, Sampling
from service.errors import EngineBusy, EngineError, EngineTimeout
from service.metrics import Metrics
from service.schemas import AskReply, GateView, Origin, Outcome, Source, Timings
from service.tracing import NO_TRACES
from topics.articles import Article, passage
from topics.check import Check, FactCheck
from topics.decided import Decided
from topics.evidence import Evidence, Match
from topics.policy import Policy
from topics.prompt import Message, Turn, messages
from topics.questions import Row
from topics.release import Answering
from topics.text import normalise
from topics.topic import Topic

log = logging.getLogger(__name__)


class Ask(NamedTuple):
    """A question as it came in, already checked."""

    question: str
    history: tuple[Turn, ...] = ()
    language: str | None = None
    max_tokens: int | None = None
    """Longest generated answer, where it is shorter than the topic's."""
    temperature: float | None = None
    """Instead of the topic's."""
    whole: bool = False
    """Say nothing before all of it is checked: for clients that cannot take a word back."""


class Meta(NamedTuple):
    """First event: the gate has spoken."""

    id: str
    gate: GateView
    release: str


class Delta(NamedTuple):
    """Words to append to what is on the screen."""

    text: str


class Replace(NamedTuple):
    """Words that take the place of all before: what was going to follow did not agree with the museum's own."""

    text: str


class Done(NamedTuple):
    """Last event: the whole answer."""

    reply: AskReply


Event = Meta | Delta | Replace | Done


_ENDS = (".", "!", "?", "…", "。", "！", "？")


class _Told(NamedTuple):
    """What will be said, before it is dressed as a reply."""

    outcome: Outcome
    answer: str
    source: Origin
    rows: Sequence[Row] = ()
    suggestions: Sequence[str] = ()
    check: Check | None = None


@dataclass(frozen=True)
class Guide:
    """Answers questions about one topic from one release."""

    topic: Topic
    release: str
    answering: Answering
    gate: TopicFilter
    evidence: Evidence
    facts: FactCheck
    decided: Decided
    engine: Engine
    articles: Mapping[str, Article]
    metrics: Metrics
    admission: Admission
    cache: AnswerCache
    book: Book
    deadline_s: float = 8.0
    bench_tokens: int | None = None
    """Benchmarks: the model answers every on-topic question, in exactly so many tokens."""
    tracer: Tracer = NO_TRACES
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock, init=False, repr=False, compare=False)

    async def answer(self, ask: Ask) -> AsyncGenerator[Event, None]:
        """Yields `Meta`, then checked words, sentence by sentence, then one `Done`. Closing it stops the engine's work.

        Never fails for want of an engine: where no museum fact is near, three of its questions are offered.
        """
        span = self.tracer.start_span("question")
        try:
            async with contextlib.aclosing(self._answer(ask, span)) as story:
                async for event in story:
                    yield event
        finally:
            span.end()

    async def _answer(self, ask: Ask, span: Span) -> AsyncGenerator[Event, None]:
        clock = _Clock()
        async with self._turn:
            # Judging keeps the event loop: between two questions it looks after everybody else, whoever waits at the
            # door or for the next words.
            await asyncio.sleep(0)
            judging = _Clock()
            language = ask.language or self.evidence.language(ask.question)
            with use_span(span), self.tracer.start_as_current_span("gate"):
                verdict = self._verdict(ask, language)
        self.metrics.gate_s.observe(judging.seconds())
        timings = Timings(gate_ms=judging.ms())
        meta = Meta(
            uuid.uuid4().hex, GateView(on_topic=verdict.on_topic, score=verdict.score, kind=verdict.kind), self.release
        )
        yield meta

        said, told = "", None
        async with contextlib.aclosing(self._telling(ask, verdict, language)) as parts:
            while told is None:
                with use_span(span):
                    part = await anext(parts)
                if timings.first_word_ms is None:
                    timings.first_word_ms = clock.ms()
                    self.metrics.first_word_s.observe(clock.seconds())
                if isinstance(part, _Told):
                    told = part
                else:
                    said += part
                    yield Delta(part)
        if told.answer.startswith(said):
            for sentence in _sentences(told.answer[len(said) :]):
                yield Delta(sentence)
        else:
            yield Replace(told.answer)
        timings.total_ms = clock.ms()
        self.metrics.total_s.observe(clock.seconds())
        self.metrics.questions.labels(told.outcome, told.source, language, verdict.kind).inc()
        fields: dict[str, str | float] = {
            "id": meta.id, "outcome": told.outcome, "source": told.source, "lang": language, "kind": verdict.kind,
            "score": round(verdict.score, 2), "characters": len(ask.question), "total_ms": round(timings.total_ms),
        }  # fmt: skip
        log.info("answered %s", " ".join(f"{k}={v}" for k, v in fields.items()), extra=fields)
        span.set_attributes({f"docent.{k}": v for k, v in fields.items()})
        reply = self._reply(told, meta, language, timings)
        self.book.note(ask.question, reply, fact=told.rows[0].id if told.rows else None)
        yield Done(reply)

    async def _telling(self, ask: Ask, verdict: Verdict, language: str) -> AsyncGenerator[str | _Told, None]:
        """Yields sentences that may be shown before the others are there, then what is told in all."""
        if policy := self._policy(ask, language):
            yield self._decided(policy, language)
        elif not verdict.on_topic:
            turned = self._in_doubt if verdict.doubtful else self._turn_away
            yield turned(ask, verdict, language)
        else:
            decided, matches = self._decide(ask, language)
            if decided:
                yield decided
                return
            async with contextlib.aclosing(self._generate(ask, matches, language)) as parts:
                async for part in parts:
                    yield part

    def _verdict(self, ask: Ask, language: str) -> Verdict:
        # The museum's own wording is its own subject, whatever a classifier makes of it.
        if self.evidence.exact(ask.question, language):
            return Verdict(True, 1.0, "topic")
        return self.gate.decide(ask.question, ask.history)

    def _policy(self, ask: Ask, language: str) -> Policy | None:
        # The museum's own wording means what it says, unless an example of help says the very same.
        own = self.evidence.exact(ask.question, language) is not None
        policy = self.decided.match(ask.question, word_for_word=own)
        return policy if policy and (policy.help or not own) else None

    def _decided(self, policy: Policy, language: str) -> _Told:
        """The museum's decided words; a visitor in need is not offered questions."""
        text = policy.answer.get(language) or policy.answer[next(iter(policy.answer))]
        return _Told("answered", text, "policy", suggestions=() if policy.help else self._opening(language))

    def _turn_away(self, ask: Ask, verdict: Verdict, language: str) -> _Told:
        if verdict.kind == "visit":
            text = self.decided.visit(ask.question, language)
            return _Told("visit", text, "policy", suggestions=self._opening(language))
        if verdict.kind == "greeting":
            return _Told("greeting", self.topic.text("hello", language), "policy", suggestions=self._opening(language))
        return _Told("declined", self.topic.text("refusal", language), "policy", suggestions=self._opening(language))

    def _in_doubt(self, ask: Ask, verdict: Verdict, language: str) -> _Told:
        """`Do you mean …?` only where the museum has a fact that may well be meant; there is no other to offer."""
        matches = self.evidence.search(ask.question, language)
        if matches and matches[0].confidence >= self.evidence.confidence.likely:
            return self._ask_back(matches, language)
        return self._turn_away(ask, verdict, language)

    def _decide(self, ask: Ask, language: str) -> tuple[_Told | None, list[Match]]:
        """Three cases by confidence: the museum's words, a question back, or neither: then the model writes."""
        matches = self.evidence.search(ask.question, language, 1)
        best = matches[0] if matches else None
        cutoffs = self.evidence.confidence
        if best and self.bench_tokens:
            return None, matches
        if best is None or best.confidence < cutoffs.likely:
            return self._ask_back(self.evidence.search(ask.question, language), language), []
        if best.confidence >= cutoffs.sure and self.answering == "curated-first":
            return self._curated(best.row, ask), []
        return None, matches

    def _ask_back(self, matches: Sequence[Match], language: str) -> _Told:
        missing_here = bool(matches) and matches[0].confidence == 0.0
        text = self.topic.text("not_in_language" if missing_here else "unsure", language)
        near = [m.row.question for m in matches] or self._opening(language)
        return _Told("unsure", text, "policy", suggestions=near[:3])

    def _curated(self, row: Row, ask: Ask, verdict: Check | None = None) -> _Told:
        return _Told("answered", row.answer, "curated", [row], self._follow_ups(row, ask), verdict)

    async def _generate(self, ask: Ask, matches: Sequence[Match], language: str) -> AsyncGenerator[str | _Told, None]:
        """Yields the model's sentences as each is checked, then what is told.

        What does not agree with the museum's words is never yielded, and ends the engine's work.
        """
        best, quiet = matches[0].row, ask.whole or bool(self.bench_tokens)
        heard: asyncio.Queue[str | None] = asyncio.Queue()
        work = asyncio.create_task(self._shared(ask, matches, language, hear=heard.put_nowait))
        work.add_done_callback(lambda _: heard.put_nowait(None))
        try:
            async for sentence in _as_they_end(heard):
                verdict: Check = "supported" if quiet else self.facts.part(sentence, best)
                if verdict == "supported" and not quiet:
                    yield sentence
                elif verdict != "supported" and not self._marks:
                    yield self._instead(best, ask, verdict)
                    return
                else:
                    quiet = True  # what may be marked is told when all is known
            yield self._checked(await work, best, ask, language)
        except EngineError as error:
            # The museum's own words are there; a dead or slow engine must not make the guide dumb.
            log.warning("engine: %s", error)
            self.metrics.engine_failures.labels(type(error).__name__).inc()
            yield self._curated(best, ask)
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)

    def _checked(self, text: str, fact: Row, ask: Ask, language: str) -> _Told:
        """A whole answer of the model, or what is told in its place."""
        # Cut off at `max_tokens`: half a sentence is no answer.
        if not text.rstrip("\"'”’»)）」").endswith(_ENDS):
            return self._instead(fact, ask, "unsupported")
        verdict = self.facts.answer(text, fact)
        if verdict == "contradicted" or (verdict == "unsupported" and not self._marks):
            return self._instead(fact, ask, verdict)
        self.metrics.checks.labels(verdict).inc()
        if verdict == "unsupported":
            text = f"{self.topic.text('uncertain', language)} {text}"
        return _Told("answered", text, "model", [fact], self._follow_ups(fact, ask), verdict)

    def _instead(self, fact: Row, ask: Ask, verdict: Check) -> _Told:
        self.metrics.checks.labels(verdict).inc()
        return self._curated(fact, ask, verdict)

    @property
    def _marks(self) -> bool:
        return self.topic.generation.unsupported == "marked"

    async def _shared(
        self,
        ask: Ask,
        matches: Sequence[Match],
        language: str,
        purpose: Purpose = "answer",
        hear: Callable[[str], None] = lambda piece: None,
    ) -> str:
        """The model's whole answer; to a museum question at temperature 0 made once for all. Raises EngineError.

        `hear` is given the pieces of an answer that is made for this visitor alone.
        """
        sampling = self._sampling(ask)
        notes = [m.row.answer for m in matches[:1]]
        if sampling.temperature > 0 or not self.evidence.exact(ask.question, language):
            return await self._generated(ask, notes, sampling, purpose, hear)
        key = (normalise(ask.question), ask.history, language, sampling)
        return await self.cache.get(key, lambda: self._generated(ask, notes, sampling, purpose))

    async def _generated(
        self,
        ask: Ask,
        notes: Sequence[str],
        sampling: Sampling,
        purpose: Purpose,
        hear: Callable[[str], None] = lambda piece: None,
    ) -> str:
        """Raises EngineError: EngineBusy at once, EngineTimeout after the deadline."""
        conversation = self._conversation(ask, notes)
        clock = _Clock()
        try:
            async with asyncio.timeout(self.deadline_s), contextlib.AsyncExitStack() as held:
                with self.tracer.start_as_current_span("queue"):
                    await held.enter_async_context(self.admission.place())
                self.metrics.queue_s.observe(clock.seconds())
                self.metrics.engine_requests.labels(purpose).inc()
                with self.tracer.start_as_current_span("engine"):
                    words = await held.enter_async_context(
                        contextlib.aclosing(self.engine.stream(conversation, sampling))
                    )
                    pieces = []
                    async for piece in words:
                        pieces.append(piece)
                        hear(piece)
                    text = "".join(pieces).strip()
        except TimeoutError as error:
            raise EngineTimeout(f"no whole answer within {self.deadline_s} s") from error
        self.metrics.answer_tokens.inc(self.engine.count_tokens(text))
        return text

    def _sampling(self, ask: Ask) -> Sampling:
        ours = self.topic.generation
        if self.bench_tokens:
            return Sampling(self.bench_tokens, 0.0, fixed=True)
        return Sampling(
            min(ask.max_tokens or ours.max_tokens, ours.max_tokens),
            ours.temperature if ask.temperature is None else ask.temperature,
        )

    def prompt_ids(self, ask: Ask) -> list[int]:
        """What the engine would read for a question, whatever the gate says of it. Raises EngineError."""
        return self.engine.prompt_ids(self._conversation(ask, self._notes(ask)), self._sampling(ask))

    async def unchecked(self, ask: Ask) -> str:
        """What the model says to a question by itself: no gate before it, no check behind it. Raises EngineError."""
        return await self._generated(ask, self._notes(ask), self._sampling(ask), "probe")

    def _notes(self, ask: Ask) -> list[str]:
        language = ask.language or self.evidence.language(ask.question)
        return [match.row.answer for match in self.evidence.search(ask.question, language, 1)]

    def _conversation(self, ask: Ask, notes: Sequence[str]) -> list[Message]:
        return messages(self.topic, ask.question, evidence=notes, history=ask.history)

    async def warm(self) -> None:
        """Generates the answers to the questions that the kiosk offers first. Raises EngineGone.

        A slow or busy engine is no broken one: the rest is then generated when somebody asks.
        """
        if self.answering == "curated-first" or not self.cache.size:
            return  # told in the museum's own words, or not kept
        try:
            for language in self.topic.languages:
                for question in self._opening(language):
                    matches = self.evidence.search(question, language, 1)
                    await self._shared(Ask(question, language=language), matches, language, "warm")
        except (EngineBusy, EngineTimeout) as error:
            log.info("warming ended early: %s", error)

    def _opening(self, language: str) -> list[str]:
        return self._openings[language]

    @functools.cached_property
    def _openings(self) -> dict[str, list[str]]:
        return {code: self.topic.opening_questions(self.evidence.rows, code, 3) for code in self.topic.languages}

    def _follow_ups(self, row: Row, ask: Ask) -> list[str]:
        asked = {fact.id for turn in ask.history if (fact := self.evidence.exact(turn.question, row.lang))}
        near = self.evidence.near(row, 3 + len(asked))
        return [fact.question for fact in near if fact.id not in asked][:3]

    def source(self, row: Row) -> Source | None:
        """The article and section a fact rests on, in the fact's language; None where they have no name in it.

        An English title under a Vietnamese answer would be a foreign text on the screen.
        """
        if row.lang != self.topic.languages[0]:
            title = self.topic.articles.get(row.lang, {}).get(row.source.partition("#")[0])
            return Source(id=row.id, title=title, section="") if title else None
        found = passage(self.articles, row.source)
        return Source(id=row.id, title=found.title, section=found.section) if found else None

    def _reply(self, told: _Told, meta: Meta, language: str, timings: Timings) -> AskReply:
        return AskReply(
            id=meta.id,
            outcome=told.outcome,
            answer=told.answer,
            lang=language,
            source=told.source,
            sources=[source for row in told.rows if (source := self.source(row))],
            suggestions=list(told.suggestions),
            check=told.check,
            gate=meta.gate,
            release=self.release,
            timings=timings,
        )


async def _as_they_end(heard: asyncio.Queue[str | None]) -> AsyncGenerator[str, None]:
    """Every sentence of a growing text as soon as the next one begins; the last one never."""
    text = ""
    while (piece := await heard.get()) is not None:
        *ended, text = _sentences((text + piece).lstrip()) or [""]
        for sentence in ended:
            yield sentence


def _sentences(text: str) -> list[str]:
    return re.findall(r".+?(?:[.!?…。！？]+(?:\s+|$)|$)", text, flags=re.DOTALL) if text else []


class _Clock:
    def __init__(self) -> None:
        self._start = time.perf_counter()

    def seconds(self) -> float:
        return time.perf_counter() - self._start

    def ms(self) -> float:
        return round(self.seconds() * 1000, 2)
