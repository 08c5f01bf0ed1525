"""Engines elsewhere that speak OpenAI's protocol, such as vLLM servers; each serves the release's `weights/`.

The prompt goes out as token ids to `/v1/completions`, rendered here with the release's own tokenizer: what the engine
reads is what training rendered, and no chat template elsewhere can be opened by a visitor's words.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openai import AsyncOpenAI, BadRequestError, OpenAIError, Timeout

from service.engine import Sampling, prompt_within
from service.errors import EngineError, EngineGone
from topics.prompt import Message

log = logging.getLogger(__name__)
_PROBE = Sampling(max_tokens=1, temperature=0.0)


@dataclass(eq=False)
class _Peer:
    """One server. It is in use from its first real token until it has failed too often."""

    url: str
    client: AsyncOpenAI
    model: str
    in_use: bool = False
    failures: int = 0
    """In a row, while it spoke to nobody else."""
    open: int = 0
    asked: int = 0
    spoke: float = 0.0
    """When its last token came (`time.monotonic`)."""


class _PeerFailed(Exception):
    """A server gave no answer, or half of one."""


class RemoteEngine:
    """Asks the server with the fewest open requests; before the first word another one stands in for it.

    After a few failures in a row a server is left alone until a real token comes from it again.
    """

    def __init__(
        self,
        urls: Sequence[str],
        weights: Path,
        *,
        key: str = "",
        model: str = "",
        context_tokens: int = 1024,
        silence_s: float = 2.5,
        start_s: float = 20.0,
        look_every_s: float = 1.0,
        most_failures: int = 3,
    ) -> None:
        """`weights` holds the tokenizer. A server silent for `silence_s` has failed; one of them must give a token
        within `start_s`. Without `model`, the first that a server lists is asked.
        """
        self.urls = list(urls)
        self.weights = weights
        self.key, self.model = key, model
        self.context_tokens = context_tokens
        self.silence_s, self.start_s, self.look_every_s = silence_s, start_s, look_every_s
        self.most_failures = most_failures
        self.running = 0
        self.progress = 0.0
        self._tokenizer: Any = None
        self._peers: list[_Peer] = []
        self._watches: list[asyncio.Task[None]] = []
        self._first_token = asyncio.Event()

    async def start(self) -> None:
        try:
            self._tokenizer = await asyncio.to_thread(_tokenizer, self.weights)
        except (ValueError, OSError) as error:
            raise EngineGone(f"{self.weights}: no tokenizer could be loaded: {error}") from error
        self._first_token.clear()
        self._peers = [self._peer(url) for url in self.urls]
        self._watches = [asyncio.create_task(self._watch(peer)) for peer in self._peers]
        try:
            await asyncio.wait_for(self._first_token.wait(), self.start_s)
        except TimeoutError:
            await self.stop()
            raise EngineGone(f"no token from {', '.join(self.urls)} within {self.start_s:.0f} s") from None
        self.progress = time.monotonic()

    def _peer(self, url: str) -> _Peer:
        timeout = Timeout(self.silence_s, connect=min(1.0, self.silence_s))
        client = AsyncOpenAI(base_url=url, api_key=self.key or "none", max_retries=0, timeout=timeout)
        return _Peer(url, client, self.model)

    async def stop(self) -> None:
        watches, self._watches = self._watches, []
        peers, self._peers = self._peers, []
        for watch in watches:
            watch.cancel()
        await asyncio.gather(*watches, return_exceptions=True)
        for peer in peers:
            await peer.client.close()

    @property
    def alive(self) -> bool:
        return any(peer.in_use for peer in self._peers)

    def count_tokens(self, text: str) -> int:
        if self._tokenizer is None:
            return len(text.split())
        return len(self._tokenizer.encode(text, add_special_tokens=False))

    async def stream(self, conversation: Sequence[Message], sampling: Sampling) -> AsyncGenerator[str, None]:
        if not self.alive:
            raise EngineGone("no remote engine is in use")
        ids = self.prompt_ids(conversation, sampling)
        if not self.running:
            self.progress = time.monotonic()
        self.running += 1
        try:
            tried: list[_Peer] = []
            while peer := self._least_busy(tried):
                tried.append(peer)
                spoken = False
                try:
                    async with contextlib.aclosing(self._speak(peer, ids, sampling)) as words:
                        async for word in words:
                            spoken = True
                            yield word
                    return
                except _PeerFailed as error:
                    if spoken:
                        raise EngineError(f"{peer.url} broke off: {error}") from error
                    log.info("%s gave no word, another one is asked: %s", peer.url, error)
            raise EngineGone(f"none of {len(tried)} remote engines gave a word")
        finally:
            self.running -= 1

    def prompt_ids(self, conversation: Sequence[Message], sampling: Sampling) -> list[int]:
        if self._tokenizer is None:
            raise EngineGone("no tokenizer is loaded")
        return prompt_within(self._tokenizer, conversation, self.context_tokens - sampling.max_tokens)

    def _least_busy(self, tried: Sequence[_Peer]) -> _Peer | None:
        free = [p for p in self._peers if p.in_use and p not in tried]
        return min(free, key=lambda p: (p.open, p.asked), default=None)

    async def _speak(self, peer: _Peer, ids: list[int], sampling: Sampling) -> AsyncGenerator[str, None]:
        """Raises _PeerFailed, which counts against a server that spoke to nobody else meanwhile: a busy one is well."""
        heard = time.monotonic()
        peer.open += 1
        peer.asked += 1
        finished = False
        try:
            async with await peer.client.completions.create(
                model=peer.model,
                prompt=ids,
                max_tokens=sampling.max_tokens,
                temperature=sampling.temperature,
                stream=True,
                extra_body={"ignore_eos": True} if sampling.fixed else None,
            ) as chunks:
                async for chunk in chunks:
                    heard = peer.spoke = self.progress = time.monotonic()
                    for choice in chunk.choices:
                        finished = finished or bool(choice.finish_reason)
                        if choice.text:
                            yield choice.text
            if not finished:
                raise ValueError("the stream ended before the answer did")
            peer.failures = 0
        except BadRequestError as error:
            raise EngineError(f"{peer.url} refused the request: {error}") from error
        except (OpenAIError, ValueError) as error:
            self._count(peer, heard)
            raise _PeerFailed(f"{type(error).__name__}: {error}") from error
        finally:
            peer.open -= 1

    def _count(self, peer: _Peer, heard: float) -> None:
        """A failure of a server last `heard` then, unless it has spoken to others since."""
        if peer.spoke > heard:
            return
        peer.failures += 1
        if peer.in_use and peer.failures >= self.most_failures:
            peer.in_use = False
            log.warning("%s is left alone until it speaks again: %d failures in a row", peer.url, peer.failures)

    async def _watch(self, peer: _Peer) -> None:
        """Until it is cancelled: asks a server that is not in use for a token, and uses it when one comes."""
        while True:
            if not peer.in_use:
                await self._prove(peer)
            await asyncio.sleep(self.look_every_s)

    async def _prove(self, peer: _Peer) -> None:
        before = peer.spoke
        try:
            peer.model = self.model or await _first_model(peer.client)
            ids = self.prompt_ids([{"role": "user", "content": "?"}], _PROBE)
            async with contextlib.aclosing(self._speak(peer, ids, _PROBE)) as words:
                async for _ in words:
                    pass
        except Exception as error:  # whatever it was: a watch that ends leaves the server out for good
            log.debug("%s gives no token yet: %s", peer.url, error)
            return
        if peer.spoke > before:
            log.info("%s speaks and is used", peer.url)
            peer.in_use, peer.failures = True, 0
            self._first_token.set()


async def _first_model(client: AsyncOpenAI) -> str:
    async for model in client.models.list():
        return model.id
    raise _PeerFailed("it lists no model")


def _tokenizer(weights: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(weights, local_files_only=True)
