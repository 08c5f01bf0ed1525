"""One visitor's conversation: what was asked and answered, and what may be touched next. No Gradio, no HTTP."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from ui.client import Delta, Done, Event, Exchange, Meta, Replace, Source, Texts, Topic
from ui.errors import ServiceError, ServiceRefused

CHIPS = 4
"""Suggested questions on the screen at once."""
HISTORY = 4
"""Turns the service is told about with the next question."""
LONGEST_QUESTION = 300
"""Characters the question box takes."""


@dataclass
class Turn:
    """A question, and as much of its answer as there is."""

    question: str
    language: str
    answer: str = ""
    sources: tuple[Source, ...] = ()
    id: str = ""
    """The service's name for the answer, where a visitor may say whether it helped."""
    heard: bool = False
    """The answer is whole, and the service's own: it may be told about it with the next question."""
    stopped: bool = False


class Stop:
    """Put into a visit's inbox when the visitor touches Stop."""


class End:
    """Put into a visit's inbox when no more of the answer will come."""


Mail = Event | Stop | End | ServiceError


@dataclass
class Visit:
    """Lives from one Start over to the next, in this process's memory only."""

    topic: Topic
    language: str
    turns: list[Turn] = field(default_factory=list)
    chips: tuple[str, ...] = ()
    inbox: asyncio.Queue[Mail] | None = None
    """Where the answer arrives; None while nothing is being answered."""

    @classmethod
    def begin(cls, topic: Topic) -> Visit:
        """A new visitor, in the museum's own language."""
        visit = cls(topic, topic.first_language)
        visit.chips = visit.first_chips()
        return visit

    @property
    def texts(self) -> Texts:
        """The screen's words in the visitor's language."""
        return self.topic.texts[self.language]

    @property
    def busy(self) -> bool:
        """Whether an answer is on its way."""
        return self.inbox is not None

    def first_chips(self) -> tuple[str, ...]:
        """The topic's own suggestions in the visitor's language."""
        return self.topic.suggestions.get(self.language, ())[:CHIPS]

    def history(self) -> list[Exchange]:
        """The last turns that were answered in full."""
        heard = [Exchange(question=turn.question, answer=turn.answer) for turn in self.turns if turn.heard]
        return heard[-HISTORY:]

    def speak(self, language: str) -> None:
        """Go on in another language; what was said stays. A running answer is stopped, for it is in the old one."""
        if language == self.language or language not in self.topic.texts:
            return
        self.language = language
        self.chips = self.first_chips()
        self.stop()

    def ask(self, question: str) -> asyncio.Queue[Mail]:
        """Open a turn; what is put into the returned inbox will answer it."""
        self.turns.append(Turn(question, self.language))
        self.inbox = asyncio.Queue()
        return self.inbox

    def stop(self) -> None:
        """End a running answer where it is; without one, nothing happens."""
        if self.inbox is not None:
            self.inbox.put_nowait(Stop())

    def take(self, mail: Mail) -> bool:
        """Let the newest turn hear of `mail`; False once nothing more can follow."""
        turn = self.turns[-1]
        match mail:
            case Meta():
                return True
            case Delta():
                turn.answer += mail.text
                return True
            case Replace():
                turn.answer = mail.text
                return True
            case Done():
                self._finish(turn, mail)
            case Stop():
                turn.stopped = True
            case ServiceError():
                self._excuse(turn, mail)
            case End():
                self._excuse(turn, ServiceRefused(503))
        return False

    def _finish(self, turn: Turn, done: Done) -> None:
        turn.answer, turn.heard = done.answer, True
        by_title: dict[str, Source] = {}
        for source in done.sources:
            by_title.setdefault(source.title, source)
        turn.sources = tuple(by_title.values())
        turn.id = done.id if done.outcome == "answered" else ""
        spoken_in = turn.language
        turn.language = done.lang or spoken_in
        # Offered in the language of the question; after a switch the visitor already sees chips in the new one.
        if done.suggestions and spoken_in == self.language:
            self.chips = done.suggestions[:CHIPS]

    def _excuse(self, turn: Turn, error: ServiceError) -> None:
        """Say something kind in place of an answer; the operator reads the cause in the log."""
        texts = self.topic.texts[turn.language]
        turn.answer = texts.resting
        if not isinstance(error, ServiceRefused):
            return
        # 422 is also what a service says of a request it does not understand: a short question is not too long.
        if error.status in (413, 422) and len(turn.question) > LONGEST_QUESTION // 2:
            turn.answer = texts.too_long
        if error.suggestions and turn.language == self.language:
            self.chips = error.suggestions[:CHIPS]
