"""A new release without a restart: loaded beside the old one, proved, then put in its place between two questions."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from gatekeeper import TopicFilter
from gatekeeper.second import load_encoder
from service.answering import Guide
from service.cache import AnswerCache
from service.engine import Engine
from service.settings import Settings
from topics.articles import read_articles
from topics.check import FactCheck
from topics.decided import Decided
from topics.evidence import Evidence
from topics.release import ReleaseError, check_release, find_release
from topics.topic import load_topic

if TYPE_CHECKING:
    from service.state import State

log = logging.getLogger(__name__)
_ON_THE_WAY_S = 2.0
"""Longest that a question takes from the door to the engine."""
BuildEngine = Callable[[Settings, Path], Engine]


class Reloader:
    """Runs the service's keeper, and exchanges guide, keeper and engine when it is asked to.

    Whoever asked before the change is answered by the old release to the end. A release that cannot be loaded, or
    whose engine does not speak, is refused with a line in the log, and the old one stays.
    """

    def __init__(self, state: State, build_engine: BuildEngine) -> None:
        self.state = state
        self.build_engine = build_engine
        self._weights = find_release(state.guide.topic, state.settings.release) / "weights"
        self._wanted = asyncio.Event()
        self._keeping: asyncio.Task[None] | None = None
        self._leaving: set[asyncio.Task[None]] = set()

    def ask(self) -> None:
        """Asks for the release as it stands now; what `SIGHUP` calls. Asked again while one is loaded, once more."""
        self._wanted.set()

    async def run(self) -> None:
        """Until it is cancelled; every engine has stopped then."""
        self._keeping = asyncio.create_task(self.state.keeper.run())
        try:
            while True:
                await self._wanted.wait()
                self._wanted.clear()
                await self._renew()
        finally:
            tasks = [self._keeping, *self._leaving]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.state.guide.engine.stop()

    async def _renew(self) -> None:
        old = self.state.guide
        try:
            fresh, weights = await asyncio.to_thread(self._load)
        except (ReleaseError, ValueError, OSError) as error:
            log.error("the new release is not taken, and %s stays: %s", old.release, error)
            return
        if fresh.engine is not old.engine and not await self._take_engine(fresh):
            return
        self._weights = weights
        fresh.metrics.running.set_function(lambda: fresh.engine.running)
        self.state.guide = self.state.keeper.guide = fresh
        log.info("release %s is served, after %s", fresh.release, old.release)

    def _load(self) -> tuple[Guide, Path]:
        """The guide of the release as it stands now, and its weights; the engine is the old one if it has them."""
        settings = self.state.settings
        topic = load_topic(settings.topic)
        folder = find_release(topic, settings.release)
        manifest = check_release(topic, folder)
        old, weights = self.state.guide, folder / "weights"
        engine = old.engine if same_weights(weights, self._weights) else self.build_engine(settings, weights)
        encoder = load_encoder(settings.gate_encoder) if settings.gate_encoder else None
        evidence = Evidence.load(topic, folder)
        fresh = replace(
            old,
            topic=topic,
            release=manifest.release,
            answering=manifest.answering,
            gate=TopicFilter.load(folder / "gate.skops", encoder),
            evidence=evidence,
            facts=FactCheck(topic, evidence.rows),
            decided=Decided.load(topic, folder),
            articles=read_articles(topic.folder / "sources"),
            engine=engine,
            cache=AnswerCache(old.cache.size, old.metrics),
        )
        return fresh, weights

    async def _take_engine(self, fresh: Guide) -> bool:
        """Starts and proves the new engine and gives it a keeper; the old one ends when its answers have."""
        old, keeper = self.state.keeper, replace(self.state.keeper, guide=fresh)
        log.info("release %s is loaded beside %s, which answers meanwhile", fresh.release, old.guide.release)
        try:
            await keeper.begin()
        except Exception as error:  # whatever a new engine raises: the old one must go on
            log.error("the new release is not taken, and %s stays: %s", old.guide.release, error)
            await fresh.engine.stop()
            return False
        except BaseException:
            await fresh.engine.stop()
            raise
        if old.draining:
            keeper.drain()
        leaving = asyncio.create_task(_let_go(old.guide, self._keeping))
        self._leaving.add(leaving)
        leaving.add_done_callback(self._leaving.discard)
        self.state.keeper, self._keeping = keeper, asyncio.create_task(keeper.run())
        return True


async def _let_go(guide: Guide, keeping: asyncio.Task[None] | None) -> None:
    """Ends an engine that nobody asks any more, when the longest answer that may still be under way has ended."""
    if keeping:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
    try:
        await asyncio.sleep(_ON_THE_WAY_S + guide.deadline_s)
    finally:
        await guide.engine.stop()


def same_weights(one: Path, other: Path) -> bool:
    """Whether two folders hold the same files of weights: `make publish-facts` and its like link them."""
    names = sorted(f.name for f in one.glob("*.safetensors"))
    if not names or names != sorted(f.name for f in other.glob("*.safetensors")):
        return False
    return all((one / name).samefile(other / name) for name in names)
