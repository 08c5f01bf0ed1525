"""The operator's book: what was asked, how it ended, how long it took, how it was liked.

Written by one thread from a bounded queue, so that no answer ever waits for a disk: what a locked, full or missing
database does not take is dropped and counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import threading
import time
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NamedTuple

from alembic.util import CommandError
from sqlalchemy import URL, CursorResult, insert, or_, update
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from service.database import Noted, bring_up_to_date, connect, exists
from service.errors import Problem
from service.metrics import Metrics
from service.schemas import AskReply, Rating

log = logging.getLogger(__name__)
Keeps = Literal["off", "counts", "words"]
_BATCH = 200
_GATHER_S = 0.25
"""Lines are written together: a write takes the processor from the answer that is just being sent."""
_FORGET_EVERY_S = 3600.0
_RATING_S = 2.0
"""Longest time a visitor's thumb waits for the book."""


class _Rated(NamedTuple):
    """A thumb on its way; `known` will tell whether the book holds its answer, None that it could not be written."""

    id: str
    rating: Rating
    known: Future[bool | None]


_Line = dict[str, Any] | _Rated


class Book:
    """Keeps a line for every answered question of one topic."""

    def __init__(
        self,
        url: URL,
        *,
        topic: str,
        keeps: Keeps,
        days: int,
        metrics: Metrics,
        waiting: int = 1000,
        patience_s: float = 5.0,
    ) -> None:
        """`words` keeps what was asked and answered for `days`, `counts` everything but that, `off` nothing.

        At most `waiting` lines wait for the database, which may take `patience_s`. Opens nothing before `start`.
        """
        self.keeps = keeps
        self.words_kept_days = days if keeps == "words" else None
        self._url, self._topic = url, topic
        self._engine = connect(url, patience_s)
        self._patience_s = patience_s
        self._lines: queue.Queue[_Line | None] = queue.Queue(waiting)
        self._written = metrics.book_rows.labels("written")
        self._dropped = metrics.book_rows.labels("dropped")
        self._thread = threading.Thread(target=self._run, name="book", daemon=True)
        self._closing = self._up_to_date = self._failing = False

    def start(self) -> None:
        """Begins to write; words that are not to be kept any longer are deleted first, even when nothing is kept."""
        if self.keeps != "off" or exists(self._url):
            self._thread.start()

    def close(self) -> None:
        """Writes what waits, as far as the database takes it within its patience."""
        self._closing = True
        if self._thread.is_alive():
            self._wake()
            self._thread.join(self._patience_s)
        self._engine.dispose()

    def note(self, question: str, reply: AskReply, *, fact: str | None) -> None:
        """Keeps an answered question; never waits. `fact` is the museum's fact that was told."""
        if self.keeps == "off":
            return
        words = {"question": question, "answer": reply.answer} if self.keeps == "words" else {}
        self._put(
            {
                "id": reply.id, "hour": _this_hour(), "topic": self._topic, "release": reply.release,
                "outcome": reply.outcome, "source": reply.source, "lang": reply.lang, "kind": reply.gate.kind,
                "score": reply.gate.score, "check": reply.check, "fact": fact, "gate_ms": reply.timings.gate_ms,
                "first_word_ms": reply.timings.first_word_ms, "total_ms": reply.timings.total_ms,
                "question": None, "answer": None, **words,
            }
        )  # fmt: skip

    async def rate(self, id: str, rating: Rating) -> None:
        """Keeps what a visitor thinks of an answer; the last word counts. Raises Problem: 404 or 503."""
        if self.keeps == "off":
            raise Problem(404, "No book", "This museum keeps no ratings (DOCENT_BOOK=off); send none.")
        rated = _Rated(id, rating, Future())
        self._put(rated)
        known = None
        with contextlib.suppress(TimeoutError):
            known = await asyncio.wait_for(asyncio.wrap_future(rated.known), _RATING_S)
        if known is None:
            detail = "The rating could not be written down at the moment; please send it again."
            raise Problem(503, "The book is busy", detail)
        if not known:
            detail = "The book holds no answer with this id; send the `id` that came with an answer of this service."
            raise Problem(404, "No such answer", detail)

    def _put(self, line: _Line) -> None:
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            self._drop([line])

    def _wake(self) -> None:
        with contextlib.suppress(queue.Full):  # it has enough to wake up for
            self._lines.put_nowait(None)

    def _run(self) -> None:
        forget_at = 0.0
        while True:
            batch = self._batch(forget_at - time.monotonic())
            try:
                if not self._up_to_date:
                    bring_up_to_date(self._engine)
                    self._up_to_date = True
                if time.monotonic() >= forget_at:
                    self._forget()
                    forget_at = time.monotonic() + _FORGET_EVERY_S
                if batch:
                    self._write(batch)
                self._failing = False
            except Exception as error:  # whatever a database raises: a writer that ends drops everything after it
                self._drop(batch)
                self._say(error)
                forget_at = max(forget_at, time.monotonic() + self._patience_s)
            if self._closing and self._lines.empty():
                return

    def _batch(self, longest_s: float) -> list[_Line]:
        """What came within `_GATHER_S` of a first line, or nothing after `longest_s`; at once where somebody waits."""
        batch: list[_Line] = []
        until = time.monotonic() + longest_s
        with contextlib.suppress(queue.Empty):
            while len(batch) < _BATCH:
                line = self._lines.get(timeout=max(0.0, until - time.monotonic()))
                if line is None or isinstance(line, _Rated):
                    until = 0.0
                elif not batch:
                    until = min(until, time.monotonic() + _GATHER_S)
                if line is not None:
                    batch.append(line)
        return batch

    def _write(self, batch: list[_Line]) -> None:
        rows = [line for line in batch if not isinstance(line, _Rated)]
        thumbs = [line for line in batch if isinstance(line, _Rated)]
        with Session(self._engine) as session, session.begin():
            if rows:
                session.execute(insert(Noted), rows)
            # After the answers: a thumb may stand in the same batch as what it judges.
            known = [self._rated(session, thumb) for thumb in thumbs]
        self._written.inc(len(rows) + sum(known))
        for thumb, there in zip(thumbs, known, strict=True):
            _tell(thumb, there)

    def _rated(self, session: Session, thumb: _Rated) -> bool:
        mine = (Noted.id == thumb.id, Noted.topic == self._topic)
        done = session.execute(update(Noted).where(*mine).values(rating=thumb.rating))
        assert isinstance(done, CursorResult)
        return done.rowcount > 0

    def _forget(self) -> None:
        """Deletes words older than the museum keeps them; all of them where it keeps none."""
        limit = _this_hour() - timedelta(days=self.words_kept_days or 0)
        old = [Noted.topic == self._topic, or_(Noted.question.is_not(None), Noted.answer.is_not(None))]
        if self.words_kept_days is not None:
            old.append(Noted.hour <= limit)
        with Session(self._engine) as session, session.begin():
            done = session.execute(update(Noted).where(*old).values(question=None, answer=None))
        assert isinstance(done, CursorResult)
        if done.rowcount > 0:
            log.info("the words of %d old questions are deleted", done.rowcount)
            self._empty_the_log()

    def _empty_the_log(self) -> None:
        """SQLite's write-ahead log still holds what was deleted, until it is put away."""
        if self._url.get_backend_name() == "sqlite":
            connection = self._engine.raw_connection()
            try:
                connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
            finally:
                connection.close()

    def _drop(self, lines: list[_Line]) -> None:
        self._dropped.inc(len(lines))
        for line in lines:
            if isinstance(line, _Rated):
                _tell(line, None)

    def _say(self, error: Exception) -> None:
        """One line when it begins to fail, none for every row."""
        if not self._failing:
            where = self._url.render_as_string(hide_password=True)
            log.error("the book at %s cannot be written, answers go on without it: %s", where, _why(error))
        self._failing = True


def _tell(thumb: _Rated, known: bool | None) -> None:
    if thumb.known.set_running_or_notify_cancel():  # else nobody waits any more
        thumb.known.set_result(known)


def _why(error: Exception) -> str:
    """The cause without a value of any row: only what a database says about itself is repeated."""
    if isinstance(error, OperationalError):
        return str(error.orig).strip().partition("\n")[0]
    if isinstance(error, CommandError):
        return f"{error}; a newer Docent wrote it: go back to that version, or name another DOCENT_DATABASE_URL"
    return str(error) if isinstance(error, OSError) else type(error).__name__


def _this_hour() -> datetime:
    return datetime.now(UTC).replace(minute=0, second=0, microsecond=0, tzinfo=None)
