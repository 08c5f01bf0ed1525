"""Counters and histograms, named with our words; one registry per app, so that tests do not share them."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Metrics:
    """Everything `GET /metrics` shows."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.questions = Counter(
            "docent_questions",
            "Questions by how they ended.",
            ["outcome", "source", "lang", "kind"],
            registry=self.registry,
        )
        self.engine_requests = Counter(
            "docent_engine_requests", "Generations asked of the engine.", ["purpose"], registry=self.registry
        )
        self.engine_failures = Counter(
            "docent_engine_failures", "Generations that failed.", ["error"], registry=self.registry
        )
        self.checks = Counter(
            "docent_checks", "Generated answers by what the fact check said.", ["verdict"], registry=self.registry
        )
        self.cache_lookups = Counter(
            "docent_cache_lookups",
            "Generated answers that were kept (hit), made with another visitor's (shared), or made (miss).",
            ["result"],
            registry=self.registry,
        )
        self.turned_away = Counter(
            "docent_turned_away", "Requests that were turned away at the door.", ["status"], registry=self.registry
        )
        self.engine_restarts = Counter(
            "docent_engine_restarts", "Times the engine was started again.", registry=self.registry
        )
        self.book_rows = Counter(
            "docent_book_rows",
            "Lines for the operator's book that were written, or dropped because its database did not take them.",
            ["result"],
            registry=self.registry,
        )
        self.cancellations = Counter(
            "docent_cancellations", "Questions whose visitor left before the answer.", registry=self.registry
        )
        self.gate_s = Histogram("docent_gate_seconds", "Time of the gate.", buckets=_SECONDS, registry=self.registry)
        self.queue_s = Histogram(
            "docent_queue_seconds", "Time in line for the engine.", buckets=_SECONDS, registry=self.registry
        )
        self.first_word_s = Histogram(
            "docent_first_word_seconds",
            "Time to the first word of an answer.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.total_s = Histogram(
            "docent_answer_seconds", "Time to the whole answer.", buckets=_SECONDS, registry=self.registry
        )
        self.answer_tokens = Counter(
            "docent_answer_tokens", "Tokens of generated answers, warming included.", registry=self.registry
        )
        self.ready = Gauge("docent_ready", "1 once the engine has produced a real token.", registry=self.registry)
        self.waiting = Gauge("docent_generations_waiting", "Questions in line for the engine.", registry=self.registry)
        self.running = Gauge("docent_generations_running", "Generations under way.", registry=self.registry)
        for result in ("hit", "shared", "miss"):
            self.cache_lookups.labels(result)
        for result in ("written", "dropped"):
            self.book_rows.labels(result)
        for purpose in ("answer", "probe", "warm"):
            self.engine_requests.labels(purpose)
