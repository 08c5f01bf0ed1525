"""The one place where training and serving agree on the prompt.

A release carries `fingerprint(topic)`; the service refuses weights that were trained on another prompt.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypedDict

from topics.errors import PromptTooLong

if TYPE_CHECKING:
    from topics.topic import Topic

VERSION = 1
"""Raise it when the shape of the prompt changes in a way that `fingerprint` would not see."""


class Message(TypedDict):
    role: str
    content: str


class Turn(NamedTuple):
    """One earlier question and the answer it got."""

    question: str
    answer: str


class ChatTokenizer(Protocol):
    """What this module needs of a Hugging Face tokenizer."""

    all_special_tokens: list[str]

    def __hash__(self) -> int: ...

    def get_added_vocab(self) -> dict[str, int]: ...

    def apply_chat_template(self, conversation: list[Message], **options: Any) -> Any: ...


def messages(
    topic: Topic, question: str, *, evidence: Sequence[str] = (), history: Iterable[Turn] = ()
) -> list[Message]:
    """The conversation as a model reads it: persona, earlier turns, museum notes, the question."""
    result: list[Message] = [{"role": "system", "content": topic.persona}]
    for turn in history:
        result.append({"role": "user", "content": turn.question})
        result.append({"role": "assistant", "content": turn.answer})
    notes = "".join(f"- {note}\n" for note in evidence)
    content = f"Museum notes:\n{notes}\n{question}" if notes else question
    result.append({"role": "user", "content": content})
    return result


def render(tokenizer: ChatTokenizer, conversation: list[Message]) -> list[int]:
    """Token ids of the conversation, ending where the guide begins to speak.

    Visitors' text cannot open a role of its own: the tokenizer's special tokens are taken out of it first.
    """
    pattern = _special(tokenizer)
    safe: list[Message] = [
        {"role": m["role"], "content": pattern.sub(" ", m["content"]) if pattern else m["content"]}
        for m in conversation
    ]
    ids: list[int] = tokenizer.apply_chat_template(safe, add_generation_prompt=True, tokenize=True, return_dict=False)
    return ids


@functools.lru_cache(maxsize=8)
def _special(tokenizer: ChatTokenizer) -> re.Pattern[str] | None:
    special = sorted({*tokenizer.all_special_tokens, *tokenizer.get_added_vocab()}, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, special))) if special else None


def render_within(tokenizer: ChatTokenizer, conversation: list[Message], room: int) -> list[int]:
    """Like `render`, in at most `room` tokens: the oldest turns go first, the persona and the question never.

    Raises PromptTooLong when these two alone do not fit.
    """
    kept = list(conversation)
    while len(ids := render(tokenizer, kept)) > room:
        if len(kept) < 4:
            raise PromptTooLong(f"the question alone makes {len(ids)} tokens, and there is room for {room}")
        del kept[1:3]
    return ids


def fingerprint(topic: Topic) -> str:
    """Sixteen hex digits that change when persona or prompt shape change, and with nothing else."""
    example = messages(topic, "question", evidence=["note one", "note two"], history=[Turn("before", "answer")])
    canonical = json.dumps([VERSION, example], ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]
