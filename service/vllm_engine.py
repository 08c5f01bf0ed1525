"""vLLM's AsyncLLM in this process; the only file that imports vllm."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import os
import time
from collections.abc import AsyncGenerator, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from service.engine import Sampling, prompt_within
from service.errors import EngineError, EngineGone
from topics.prompt import Message

if TYPE_CHECKING:
    from vllm.v1.engine.async_llm import AsyncLLM

_TOKENS_A_PIECE = 16
"""After its first token a generation reports every so many: nobody sees half a sentence, and each report costs the
event loop as much as a token costs the engine."""
_IN_THE_ENGINE = "vllm.v1.executor.uniproc_executor.UniProcExecutor"
"""vLLM's own choice for a CPU is a second process that the first waits for in a loop which keeps a core busy."""


class VllmEngine:
    """Serves a folder of merged weights; the prompt is rendered here, with the tokenizer of the training run."""

    def __init__(self, weights: Path, *, kv_cache_gib: float = 1.0, context_tokens: int = 1024) -> None:
        """`weights` holds safetensors, tokenizer and chat template; nothing is loaded before `start`."""
        self.weights = weights
        self.kv_cache_gib = kv_cache_gib
        self.context_tokens = context_tokens
        self.running = 0
        self.progress = 0.0
        self._llm: AsyncLLM | None = None
        self._tokenizer: Any = None
        self._numbers = itertools.count()

    async def start(self) -> None:
        # Loading blocks for many seconds; in a thread, the service answers from curated facts meanwhile.
        try:
            llm = await asyncio.to_thread(self._load)
        except (RuntimeError, ValueError, OSError) as error:
            raise EngineGone(f"vLLM could not load {self.weights}: {error}") from error
        self._llm, self._tokenizer = llm, llm.get_tokenizer()
        self.progress = time.monotonic()

    def _load(self) -> AsyncLLM:
        # vLLM reads these when it is imported; an operator's own values stand.
        os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", str(max(1, round(self.kv_cache_gib))))
        os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
        os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.platforms import current_platform
        from vllm.v1.engine.async_llm import AsyncLLM

        on_cpu = current_platform.is_cpu()
        arguments = AsyncEngineArgs(
            model=str(self.weights),
            dtype="bfloat16",
            max_model_len=self.context_tokens,
            enable_prefix_caching=True,
            # Compiling takes a minute and gains nothing on a small model; on a GPU it pays.
            enforce_eager=on_cpu,
            disable_log_stats=True,
            stream_interval=_TOKENS_A_PIECE,
            distributed_executor_backend=_IN_THE_ENGINE if on_cpu else None,
        )
        with _threads() if on_cpu else contextlib.nullcontext():
            llm = AsyncLLM.from_engine_args(arguments)
        # A full collection walks through all that vLLM imported, in the middle of somebody's answer. What is here now
        # stays until another engine comes, and is not walked through again.
        gc.unfreeze()
        gc.collect()
        gc.freeze()
        return llm

    async def stop(self) -> None:
        llm, self._llm = self._llm, None
        if llm is not None:
            await asyncio.to_thread(llm.shutdown, 5.0)

    @property
    def alive(self) -> bool:
        return self._llm is not None and not self._llm.errored

    def prompt_ids(self, conversation: Sequence[Message], sampling: Sampling) -> list[int]:
        if self._llm is None:
            raise EngineGone("vLLM is not loaded")
        return prompt_within(self._tokenizer, conversation, self.context_tokens - sampling.max_tokens)

    def count_tokens(self, text: str) -> int:
        if self._tokenizer is None:
            return len(text.split())
        return len(self._tokenizer.encode(text, add_special_tokens=False))

    async def stream(self, conversation: Sequence[Message], sampling: Sampling) -> AsyncGenerator[str, None]:
        if self._llm is None:  # before vLLM is imported: that would wait for `_load`, and everybody with it
            raise EngineGone("vLLM is not loaded")
        from vllm import SamplingParams, TokensPrompt
        from vllm.sampling_params import RequestOutputKind
        from vllm.v1.engine.exceptions import EngineDeadError, EngineGenerateError

        prompt = TokensPrompt(prompt_token_ids=self.prompt_ids(conversation, sampling))
        parameters = SamplingParams(
            max_tokens=sampling.max_tokens,
            temperature=sampling.temperature,
            ignore_eos=sampling.fixed,
            output_kind=RequestOutputKind.DELTA,
        )
        if not self.running:
            self.progress = time.monotonic()
        self.running += 1
        outputs = self._llm.generate(prompt, parameters, f"docent-{next(self._numbers)}")
        try:
            async for output in outputs:
                self.progress = time.monotonic()
                if text := output.outputs[0].text:
                    yield text
        except EngineDeadError as error:
            raise EngineGone("vLLM has stopped") from error
        except (EngineGenerateError, ValueError) as error:
            raise EngineError(f"vLLM could not generate: {error}") from error
        finally:
            self.running -= 1
            # Closing it is what aborts the request inside vLLM when the visitor has left.
            await outputs.aclose()


@contextlib.contextmanager
def _threads() -> Iterator[None]:
    """An engine that starts in here computes with all cores but one, which is for HTTP; an operator's number stands."""
    name = "OMP_NUM_THREADS"
    if name in os.environ:
        yield
        return
    os.environ[name] = str(max(1, len(os.sched_getaffinity(0)) - 1))
    try:
        yield
    finally:
        del os.environ[name]
