"""The seam to whatever generates text, and a scripted engine that ships for tests and demonstrations."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import deque
from collections.abc import AsyncGenerator, Iterable, Sequence
from typing import Literal, NamedTuple, Protocol

from service.errors import EngineError, EngineGone
from topics.errors import PromptTooLong
from topics.prompt import ChatTokenizer, Message, render_within

Purpose = Literal["answer", "probe", "warm"]


class Sampling(NamedTuple):
    """How to generate."""

    max_tokens: int
    temperature: float
    fixed: bool = False
    """Exactly `max_tokens`, wherever the model would end: for benchmarks."""


class Engine(Protocol):
    """Generates text for a conversation. One battery of tests runs on every engine."""

    async def start(self) -> None:
        """Becomes able to generate. Raises EngineGone when it cannot."""
        ...

    async def stop(self) -> None:
        """Gives everything back; safe to call twice, and before `start`."""
        ...

    def stream(self, conversation: Sequence[Message], sampling: Sampling) -> AsyncGenerator[str, None]:
        """Yields text as it is made; closing the iterator stops the work. Raises EngineError."""
        ...

    def prompt_ids(self, conversation: Sequence[Message], sampling: Sampling) -> list[int]:
        """What `stream` reads, as token ids. Raises EngineError; EngineGone as long as no tokenizer is loaded."""
        ...

    def count_tokens(self, text: str) -> int:
        """Tokens of a text; words, as long as no tokenizer is loaded."""
        ...

    @property
    def running(self) -> int:
        """Generations under way."""
        ...

    @property
    def alive(self) -> bool:
        """Whether it has started and not stopped or died since."""
        ...

    @property
    def progress(self) -> float:
        """When the last token came, or the first of the running generations began (`time.monotonic`)."""
        ...


def prompt_within(tokenizer: ChatTokenizer, conversation: Sequence[Message], room: int) -> list[int]:
    """The prompt as at most `room` token ids; the oldest turns go first. Raises EngineError when nothing helps."""
    try:
        return render_within(tokenizer, list(conversation), room)
    except PromptTooLong as error:
        raise EngineError(str(error)) from error


class ScriptedEngine:
    """Says what it was told to say, word by word; without a script, repeats the first museum note."""

    def __init__(self, replies: Iterable[str] = (), *, word_s: float = 0.0, fails: Exception | None = None) -> None:
        """`replies` are said in turn, `word_s` seconds a word; `fails` is raised instead when given."""
        self.replies = deque(replies)
        self.word_s = word_s
        self.fails = fails
        self.asked: list[list[Message]] = []
        self.running = 0
        self.cancelled = 0
        self.alive = False
        self.progress = 0.0

    async def start(self) -> None:
        self.alive = True
        self.progress = time.monotonic()

    async def stop(self) -> None:
        self.alive = False

    async def stream(self, conversation: Sequence[Message], sampling: Sampling) -> AsyncGenerator[str, None]:
        if not self.alive:
            raise EngineGone("the scripted engine was not started")
        self.asked.append(list(conversation))
        if self.fails:
            raise self.fails
        if not self.running:
            self.progress = time.monotonic()
        self.running += 1
        try:
            words = self._reply(conversation).split(" ")
            said = itertools.cycle(words) if sampling.fixed else words
            for number, word in enumerate(itertools.islice(said, sampling.max_tokens)):
                await asyncio.sleep(self.word_s)
                self.progress = time.monotonic()
                yield word if number == 0 else f" {word}"
        except (asyncio.CancelledError, GeneratorExit):
            self.cancelled += 1
            raise
        finally:
            self.running -= 1

    def prompt_ids(self, conversation: Sequence[Message], sampling: Sampling) -> list[int]:
        raise EngineGone("the scripted engine reads words, and no token ids")

    def count_tokens(self, text: str) -> int:
        return len(text.split())

    def _reply(self, conversation: Sequence[Message]) -> str:
        if self.replies:
            return self.replies.popleft()
        notes = [line[2:] for line in conversation[-1]["content"].splitlines() if line.startswith("- ")]
        return notes[0] if notes else "I do not know."
