"""A run becomes a release: gate and evidence beside the weights, judged against the live one, the manifest last."""

from __future__ import annotations

import importlib.metadata
import json
import logging
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from gatekeeper.fitting import fit_gate
from gatekeeper.second import Encoder
from topics.calibration import calibrate
from topics.decided import Decided
from topics.evidence import Evidence
from topics.prompt import fingerprint
from topics.questions import Row, dataset_hash
from topics.release import ROOT, Manifest, check_release, find_release, make_live, write_manifest
from topics.topic import Topic
from training import model as models
from training.config import Recipe
from training.dataset import split
from training.errors import ServedError, TrainingError
from training.model import revision
from training.parity import Speaks, compare_served, parity_sample
from training.promotion import Judgement, judge
from training.report import write_report
from training.run import RunFolder, check_questions, dataset_of, report_title, write_figures
from training.truth import tell_truth

log = logging.getLogger(__name__)
_LEAST_RIGHT = 0.5
_LIBRARIES = ("torch", "transformers", "peft", "scikit-learn", "skops")


@contextmanager
def building(topic: Topic, name: str, root: Path) -> Iterator[Path]:
    """A folder to fill; it becomes `<root>/<topic>/<name>` when the block ends well, and vanishes when it does not."""
    parent = root / topic.id
    parent.mkdir(parents=True, exist_ok=True)
    folder = parent / f".building-{os.getpid()}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
        os.replace(folder, parent / name)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def new_name(parent: Path) -> str:
    """A name that is free in `parent`; names sort by time: `2026-11-21-0931-05`."""
    name = datetime.now(UTC).strftime("%Y-%m-%d-%H%M-%S")
    while (parent / name).exists():
        name += "a"
    return name


def write_knowledge(topic: Topic, rows: list[Row], folder: Path, encoder: Encoder | None = None) -> dict[str, Any]:
    """Writes gate, evidence and decided answers; returns what was learned about the first two."""
    gate = fit_gate(topic, encoder=encoder)
    gate.save(folder / "gate.skops")
    confidence = calibrate(topic, rows)
    Evidence(topic, rows, confidence).save(folder)
    Decided.of_topic(topic, rows).save(folder)
    log.info(
        "gate: lets in from %.2f; evidence: sure from %.2f, likely from %.2f",
        gate.cuts_.let_in,
        confidence.sure,
        confidence.likely,
    )
    return {"gate": gate.cuts_._asdict(), "evidence": confidence.__dict__}


class Made(NamedTuple):
    """A new release, and what came of it."""

    folder: Path
    judgement: Judgement


Serve = Callable[[Topic, Path, Path], AbstractContextManager[Speaks]]
"""Starts a service of a release, with a log: `training.served.serving`."""


def release(
    topic: Topic,
    recipe: Recipe,
    run: RunFolder,
    rows: list[Row],
    result: dict[str, Any],
    root: Path = ROOT,
    *,
    serve: Serve | None = None,
    device: str = "auto",
) -> Made:
    """Makes a release of a finished run. Points `live` at it unless it is worse than the one that is live.

    With `serve` it is tried as a service first, and must read and answer there as it does here.
    """
    name = new_name(root / topic.id)
    told = [unheld(r) for r in rows] if result["everything"] else rows
    with building(topic, name, root) as folder:
        shutil.copytree(run.weights, folder / "weights")
        learned = write_knowledge(topic, told, folder)
        manifest = Manifest(
            release=name,
            topic=topic.id,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            base=result["base"],
            dataset_hash=result["dataset_hash"],
            prompt_fingerprint=fingerprint(topic),
            answering=recipe.answering,
            includes_held=result["everything"],
            recipe=json.loads(recipe.model_dump_json()),
            scores={**without_answers(result["scores"]), **learned, "parity": result["parity"]},
            libraries={library: importlib.metadata.version(library) for library in _LIBRARIES},
            commit=_commit(),
        )
        if serve:
            # The service wants a manifest; nobody finds the folder by it before it has its name.
            write_manifest(folder, manifest)
            result = {**result, "served": try_served(topic, recipe, run, rows, result, folder, serve)}
            write_figures(topic, run, result)
        truth = _truth(topic, recipe, rows, result, folder, device)
        models.make_room()
        judgement = judge(topic, recipe, rows, result, folder, name=name, root=root, device=device)
        judged = judgement.as_dict()
        write_report(folder / "report.html", run.path, title=report_title(topic), judged=judged, truth=truth)
        scores = {**manifest.scores, "truth": truth["figures"], **({"served": result["served"]} if serve else {})}
        write_manifest(folder, manifest.model_copy(update={"scores": scores, "judged": judged}))
    made = root / topic.id / name
    if judgement.promote:
        make_live(made)
    level = logging.INFO if judgement.promote and judgement.against else logging.WARNING
    log.log(level, "release %s %s. %s", made, "is live" if judgement.promote else "is NOT live", judgement.why)
    return Made(made, judgement)


def try_served(
    topic: Topic, recipe: Recipe, run: RunFolder, rows: list[Row], result: dict[str, Any], folder: Path, serve: Serve
) -> dict[str, Any]:
    """How the service of the release in `folder` reads and answers the prompts of the run's own parity check.

    What kept it from being served at all stands under `fault`.
    """
    sets = split(topic, rows, recipe.data, seed=recipe.train.seed, everything=result["everything"])
    asked = parity_sample(sets, recipe.evaluate.parity_prompts, seed=recipe.train.seed)
    models.make_room()
    log.info("starting a service of the candidate, to see that it answers there as it does here")
    weights = str(folder / "weights")
    try:
        with serve(topic, folder, run.served_log) as service:
            # Not on the GPU: the engine has asked for nearly all of it.
            merged, tokenizer = models.load_to_answer(weights, "cpu"), models.load_tokenizer(weights)
            found = compare_served(merged, tokenizer, topic, asked, service, epsilon=recipe.evaluate.parity_epsilon)
    except ServedError as error:
        return {"fault": str(error)}
    log.info(
        "as served: %d of %d prompts are read alike, %d answered with the same words, %d differ only at a near-tie",
        found.read, found.prompts, found.same, found.excused,
    )  # fmt: skip
    return found.as_dict()


def _truth(
    topic: Topic, recipe: Recipe, rows: list[Row], result: dict[str, Any], folder: Path, device: str
) -> dict[str, Any]:
    """The truth report; empty for a run that only merged a ready-made adapter, which was measured where it was made."""
    if "base" not in result["scores"]:
        return {"figures": {}, "wrong": []}
    sets = split(topic, rows, recipe.data, seed=recipe.train.seed, everything=result["everything"])
    return tell_truth(topic, recipe, rows, sets, result["scores"], folder, device)


def without_answers(scores: dict[str, Any]) -> dict[str, Any]:
    """The figures alone."""
    return {
        model: {name: {k: v for k, v in s.items() if k != "examples"} for name, s in sets.items()}
        for model, sets in scores.items()
    }


def unheld(row: Row) -> Row:
    """The row with nothing held out: what ships knows everything."""
    wordings = tuple(w.model_copy(update={"held": False}) for w in row.paraphrases)
    return row.model_copy(update={"held": False, "paraphrases": wordings})


def refit_gate(topic: Topic, root: Path = ROOT, encoder: Encoder | None = None) -> Path:
    """A new live release that shares the live one's weights and has a gate and evidence fitted afresh."""
    return _on_live_weights(topic, root, lambda rows, live, folder: write_knowledge(topic, rows, folder, encoder))


def publish_facts(topic: Topic, root: Path = ROOT) -> Path:
    """A new live release that shares the live one's weights and gate, and tells the facts as they stand now.

    For a fact to correct or withdraw at once: what the weights remember otherwise is caught by the fact check. The
    cut-offs of the evidence stay as they are. Raises TopicError when `lint` finds errors.
    """
    check_questions(topic)

    def write(rows: list[Row], live: Path, folder: Path) -> dict[str, Any]:
        os.link(live / "gate.skops", folder / "gate.skops")
        Evidence(topic, rows, Evidence.load(topic, live).confidence).save(folder)
        Decided.of_topic(topic, rows).save(folder)
        return {}

    return _on_live_weights(topic, root, write)


def _on_live_weights(topic: Topic, root: Path, write: Callable[[list[Row], Path, Path], dict[str, Any]]) -> Path:
    """A release beside the live one, with its weights as hard links; `write` fills in what is known besides."""
    live = find_release(topic, root=root)
    manifest = check_release(topic, live, weights_only=True)
    name = new_name(root / topic.id)
    rows = [unheld(r) for r in topic.rows()] if manifest.includes_held else topic.rows()
    with building(topic, name, root) as folder:
        shutil.copytree(live / "weights", folder / "weights", copy_function=os.link)
        if (live / "report.html").is_file():
            os.link(live / "report.html", folder / "report.html")
        scores = {**manifest.scores, **write(rows, live, folder)}
        now = datetime.now(UTC).isoformat(timespec="seconds")
        news = {"release": name, "created": now, "scores": scores, "judged": {}}
        write_manifest(folder, manifest.model_copy(update=news))
    make_live(root / topic.id / name)
    return root / topic.id / name


def shipped_folder(topic: Topic) -> Path:
    """Where the repository keeps a topic's ready-made adapter."""
    return ROOT.parent / "models" / "adapters" / topic.id


def ship(topic: Topic, recipe: Recipe, run: RunFolder, result: dict[str, Any]) -> Path:
    """Puts a run's adapter into the repository, so that a first start merges instead of training.

    Raises TrainingError when it tells fewer key facts than half of its questions: the one there stays.
    """
    folder = shipped_folder(topic)
    right = result["scores"]["tuned"]["trained"]["key_fact"]
    if right < _LEAST_RIGHT:
        raise TrainingError(
            f"{run.path}: the model tells the key fact for {right:.0%} of its trained wordings, so the adapter in "
            f"{folder} stays; see {run.report} and {run.progress}, and try a lower learning rate or more epochs"
        )
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        shutil.copy(run.adapter / name, folder)
    made_of = {
        "dataset_hash": result["dataset_hash"],
        "prompt_fingerprint": fingerprint(topic),
        "base": result["base"],
        "recipe": recipe.name,
        "epochs": result["epochs"],
        "went_on_from": result["went_on_from"],
        "trained": without_answers(result["scores"])["tuned"]["trained"],
    }
    (folder / "made_of.json").write_text(json.dumps(made_of, indent=1) + "\n", encoding="utf-8")
    return folder


def shipped_adapter(topic: Topic, rows: list[Row], base: str) -> Path | None:
    """The adapter that comes with the repository, if it was trained on exactly these questions, prompt and base."""
    folder = related_adapter(topic, base)
    if folder is None:
        return None
    fits = dataset_of(folder) == dataset_hash(rows)
    if not fits:
        log.info("%s was trained on other questions; training goes on from it", folder)
    return folder if fits else None


def related_adapter(topic: Topic, base: str) -> Path | None:
    """The adapter that comes with the repository, if prompt and base are its own; the questions may be newer."""
    folder = shipped_folder(topic)
    if not (folder / "made_of.json").is_file():
        return None
    made_of = _made_of(folder)
    now = (fingerprint(topic), {"name": base, "revision": revision(base)})
    fits = (made_of["prompt_fingerprint"], made_of["base"]) == now
    if not fits:
        log.info("%s was trained with another prompt or base; it is of no use here", folder)
    return folder if fits else None


def _made_of(folder: Path) -> dict[str, Any]:
    made_of: dict[str, Any] = json.loads((folder / "made_of.json").read_text(encoding="utf-8"))
    return made_of


def _commit() -> str:
    done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT.parent, capture_output=True, text=True, check=False)
    return done.stdout.strip()
