"""One battery for every engine, so that the scripted one cannot drift from the real one."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.engine import Engine, Sampling, ScriptedEngine
from service.errors import EngineError, EngineGone
from service.remote_engine import RemoteEngine
from service.vllm_engine import VllmEngine
from tests.conftest import MINI, ROOT, Finished
from tests.service.conftest import served
from tests.service.openai_double import OpenAIDouble
from topics.prompt import Turn, messages, render
from topics.topic import Topic

ANSWER = Sampling(max_tokens=60, temperature=0.0)
BABBLE = Sampling(max_tokens=900, temperature=2.0, fixed=True)
"""A generation that lasts: no end token ends it."""
QUESTION = "How high is Gull Rock Lighthouse?"


def scripted() -> ScriptedEngine:
    return ScriptedEngine(["The tower is 38 metres high."] + ["word " * 900] * 9, word_s=0.002)


@pytest.fixture(params=["scripted", "remote", "vllm"], scope="module")
def make_engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    if request.param == "scripted":
        yield scripted()
    elif request.param == "remote":
        engine = scripted()
        engine.replies.appendleft("token")  # for the proof that it speaks
        double = OpenAIDouble(Path(MINI), engine)
        with served(double.app) as url:
            yield RemoteEngine([f"{url}/v1"], Path(MINI))
    else:
        finished: Finished = request.getfixturevalue("finished")
        yield VllmEngine(finished.folder / "weights")


@pytest.mark.timeout(300)
async def test_the_battery(make_engine: Engine, lighthouse: Topic) -> None:
    """In one test, because an engine belongs to the event loop it was started in."""
    engine = make_engine
    conversation = messages(lighthouse, QUESTION)
    with pytest.raises(EngineGone):
        await _collect(engine, conversation)
    with pytest.raises(EngineGone):
        engine.prompt_ids(conversation, ANSWER)
    await engine.stop()
    await engine.start()
    try:
        assert "38" in await _collect(engine, conversation)
        pieces = [p async for p in engine.stream(conversation, Sampling(80, 2.0, fixed=True))]
        assert len(pieces) > 3 and all(pieces)
        assert engine.running == 0
        await _closing_stops_the_work(engine, conversation)
        await _cancelling_stops_the_work(engine, conversation)
        await _many_at_once(engine, conversation)
        await _a_long_past_is_cut_and_a_long_question_refused(engine, lighthouse)
    finally:
        await engine.stop()
    with pytest.raises(EngineGone):
        await _collect(engine, conversation)


async def _collect(engine: Engine, conversation: list) -> str:  # type: ignore[type-arg]
    return "".join([p async for p in engine.stream(conversation, ANSWER)])


async def _closing_stops_the_work(engine: Engine, conversation: list) -> None:  # type: ignore[type-arg]
    words = engine.stream(conversation, BABBLE)
    for _ in range(3):
        await anext(words)
    assert engine.running == 1
    await words.aclose()
    await _is_idle(engine)


async def _cancelling_stops_the_work(engine: Engine, conversation: list) -> None:  # type: ignore[type-arg]
    started = asyncio.Event()

    async def listen() -> None:
        async for _ in engine.stream(conversation, BABBLE):
            started.set()

    task = asyncio.create_task(listen())
    await asyncio.wait_for(started.wait(), 30)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await _is_idle(engine)


async def _many_at_once(engine: Engine, conversation: list) -> None:  # type: ignore[type-arg]
    said = await asyncio.gather(*(_collect(engine, conversation) for _ in range(5)))
    assert all(said) and engine.running == 0


async def _a_long_past_is_cut_and_a_long_question_refused(engine: Engine, topic: Topic) -> None:
    past = [Turn("Who was the keeper before that one?", "Another keeper. " * 60)] * 9
    assert await _collect(engine, messages(topic, QUESTION, history=past))
    if not isinstance(engine, ScriptedEngine):
        read = engine.prompt_ids(messages(topic, QUESTION, history=past), ANSWER)
        assert len(engine.prompt_ids(messages(topic, QUESTION), ANSWER)) < len(read) <= 964
        with pytest.raises(EngineError, match="there is room for 964"):
            await _collect(engine, messages(topic, "How high? " * 1000))


async def _is_idle(engine: Engine) -> None:
    assert engine.running == 0
    if isinstance(engine, VllmEngine):
        assert engine._llm is not None
        for _ in range(50):  # 250 ms
            if engine._llm.get_num_unfinished_requests() == 0:
                return
            await asyncio.sleep(0.005)
        raise AssertionError("vLLM goes on generating for nobody")


async def test_weights_that_cannot_be_loaded_are_an_engine_error(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(EngineGone, match="could not load"):
        await VllmEngine(tmp_path).start()


def test_the_rendered_prompt_ends_where_the_guide_begins(finished: Finished, lighthouse: Topic) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(finished.folder / "weights")
    ids = render(tokenizer, messages(lighthouse, QUESTION))
    assert tokenizer.decode(ids).endswith("<|assistant|>")


def test_a_question_before_vllm_is_loaded_does_not_wait_for_it() -> None:
    """In a process of its own: `import vllm` here would wait until the thread that loads it is done, ten seconds on."""
    ask = """
import asyncio, sys
from pathlib import Path
from service.engine import Sampling
from service.errors import EngineGone
from service.vllm_engine import VllmEngine
try:
    asyncio.run(anext(VllmEngine(Path("weights")).stream([], Sampling(1, 0.0))))
except EngineGone:
    sys.exit("vllm" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", ask], cwd=ROOT).returncode == 0
