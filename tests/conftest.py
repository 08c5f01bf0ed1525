"""Fixtures for all tests: an invented museum, and a release of it with stand-in weights."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
if workers := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "0")):
    # Two workers with two threads each on two cores wait for one another more than they compute.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // workers)))

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from filelock import FileLock

from gatekeeper import TopicFilter
from gatekeeper.fitting import fit_gate
from topics.calibration import calibrate
from topics.decided import Decided
from topics.evidence import Evidence
from topics.prompt import fingerprint
from topics.questions import dataset_hash
from topics.release import Manifest, write_manifest
from topics.topic import Topic, load_topic
from training.config import Recipe

ROOT = Path(__file__).resolve().parent.parent
LIGHTHOUSE = Path(__file__).parent / "fixtures" / "lighthouse"
MINI = str(ROOT / "models" / "mini")


@pytest.fixture(autouse=True)
def no_docent_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """A developer's own settings must not decide whether a test passes."""
    for name in [n for n in os.environ if n.startswith("DOCENT_")]:
        monkeypatch.delenv(name)


MakeOnce = Callable[[str, Callable[[Path], object]], Path]


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> MakeOnce:
    """A function that makes a folder, or finds the one that another worker of this run has made (pytest-xdist)."""
    mine = tmp_path_factory.getbasetemp()
    everybodys = mine.parent if "PYTEST_XDIST_WORKER" in os.environ else mine

    def make_or_find(name: str, make: Callable[[Path], object]) -> Path:
        folder = everybodys / name
        with FileLock(f"{folder}.lock"):
            if not folder.is_dir():
                making = everybodys / f"{name}.making"
                shutil.rmtree(making, ignore_errors=True)
                making.mkdir()
                make(making)
                making.rename(folder)
        return folder

    return make_or_find


@pytest.fixture(scope="session")
def lighthouse() -> Topic:
    return load_topic(LIGHTHOUSE)


@pytest.fixture(scope="session")
def gate_of_lighthouse(lighthouse: Topic, once: MakeOnce) -> TopicFilter:
    """Fitted once: it learns other people's questions by the thousand."""

    def fit(folder: Path) -> None:
        gate = fit_gate(lighthouse)
        gate.save(folder / "gate.skops")
        np.save(folder / "scores.npy", gate.scores_)

    folder = once("gate-of-lighthouse", fit)
    gate = TopicFilter.load(folder / "gate.skops")
    gate.scores_ = np.load(folder / "scores.npy")  # what a gate knows that has just learned, and does not store
    return gate


@pytest.fixture(scope="session")
def stand_in_release(
    lighthouse: Topic, gate_of_lighthouse: TopicFilter, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Everything a release has, but for weights that speak: for tests with a ScriptedEngine."""
    folder = tmp_path_factory.mktemp("releases") / "stand-in"
    (folder / "weights").mkdir(parents=True)
    (folder / "weights" / "config.json").write_text("{}")
    (folder / "weights" / "model.safetensors").write_bytes(b"")
    rows = lighthouse.rows()
    gate_of_lighthouse.save(folder / "gate.skops")
    Evidence(lighthouse, rows, calibrate(lighthouse, rows)).save(folder)
    Decided.of_topic(lighthouse, lighthouse.rows()).save(folder)
    write_manifest(
        folder,
        Manifest(
            release="stand-in",
            topic="lighthouse",
            created="2026-01-01T00:00:00+00:00",
            base={"name": "none", "revision": "none"},
            dataset_hash=dataset_hash(rows),
            prompt_fingerprint=fingerprint(lighthouse),
        ),
    )
    return folder


@pytest.fixture
def copy_of_release(stand_in_release: Path, tmp_path: Path) -> Iterator[Callable[[], Path]]:
    """A function that gives a copy of the stand-in release, to damage."""
    yield lambda: Path(shutil.copytree(stand_in_release, tmp_path / "release"))


class Finished(NamedTuple):
    """A training run that has ended."""

    folder: Path
    result: dict[str, Any]
    recipe: Recipe


@pytest.fixture(scope="session")
def recipe() -> Recipe:
    return Recipe.model_validate(
        {
            "name": "test",
            "data": {"full_every": 2, "evidence_share": 0.1},
            "train": {"epochs": 60, "batch_size": 16, "evaluations": 4, "warmup_steps": 10},
            "evaluate": {"questions": 30, "base_questions": 10, "truth_questions": 6, "parity_prompts": 20},
        }
    )


@pytest.fixture(scope="session")
def finished(lighthouse: Topic, recipe: Recipe, once: MakeOnce) -> Finished:
    """A real run on the invented museum: the mini base, real LoRA, a minute of steps. Made once for all tests."""
    from training.run import RunFolder, train

    folder = once("lighthouse", lambda folder: train(lighthouse, recipe, MINI, folder, device="cpu"))
    return Finished(folder, json.loads(RunFolder(folder).result.read_text(encoding="utf-8")), recipe)
