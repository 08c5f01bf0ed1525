"""The museum's walk, step by step: lint, split, train, merge, prove, evaluate, report. Ends in a run folder."""

from __future__ import annotations

import json
import logging
import math
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from topics.errors import TopicError
from topics.lint import lint
from topics.questions import Row, dataset_hash, read_off_topic
from topics.topic import HERE as TOPICS
from topics.topic import Topic
from training import model as models
from training.config import QUANTISED, Recipe
from training.dataset import Examples, Padded, Split, split, with_lessons
from training.errors import ParityError
from training.evaluate import evaluate
from training.finetune import finetune, for_machine, processes_for
from training.generate import forced, greedy_ids, perplexity
from training.parity import compare, parity_sample, rendered
from training.report import write_report

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunFolder:
    """Paths inside a run folder, spelt nowhere else."""

    path: Path

    @property
    def adapter(self) -> Path:
        return self.path / "adapter"

    @property
    def weights(self) -> Path:
        return self.path / "weights"

    @property
    def progress(self) -> Path:
        return self.path / "progress.jsonl"

    @property
    def result(self) -> Path:
        return self.path / "eval.json"

    @property
    def served_log(self) -> Path:
        return self.path / "served.log"

    @property
    def report(self) -> Path:
        return self.path / "report.html"


def check_questions(topic: Topic) -> list[Row]:
    """The topic's rows, linted. Raises TopicError with every error found; warnings are logged."""
    rows = topic.rows()
    findings = lint(topic)
    for finding in findings:
        log.log(logging.ERROR if finding.error else logging.WARNING, "%s", finding.text)
    if errors := [f for f in findings if f.error]:
        raise TopicError(f"{topic.folder / 'questions.jsonl'}: {len(errors)} errors, the first: {errors[0].text}")
    return rows


def train(
    topic: Topic,
    recipe: Recipe,
    base: str,
    out: Path,
    *,
    everything: bool = False,
    device: str = "auto",
    start: Path | None = None,
) -> dict[str, Any]:
    """One run: `adapter/`, `weights/`, `progress.jsonl`, `eval.json`, `report.html` in `out`.

    `start` is an adapter folder to go on from, with `train.more_epochs` passes instead of `train.epochs`.
    Raises TrainingError or TopicError; what stood in `out` before is replaced. Under `accelerate launch` the processes
    share each batch; all but the first return nothing.
    """
    began = time.monotonic()
    recipe = for_machine(recipe, device)
    processes = processes_for(device)
    rows = check_questions(topic)
    folder = RunFolder(out)
    if processes.is_main_process:
        _fresh(out)
    processes.wait_for_everyone()
    sets = split(topic, rows, recipe.data, seed=recipe.train.seed, everything=everything)
    strangers = read_off_topic(TOPICS / "off_topic.jsonl", topic.folder / "near_misses.jsonl")
    log.info(
        "%d facts: %d wordings to train, %d to validate, %d reworded, %d unseen",
        len(rows), len(sets.train), len(sets.validation), len(sets.reworded), len(sets.unseen),
    )  # fmt: skip
    if recipe.method == "none":
        return _measure_base(topic, recipe, base, folder, rows, sets, began, device)
    tokenizer = models.load_tokenizer(base)
    lessons = with_lessons(topic, sets.train, strangers, recipe.data, seed=recipe.train.seed)
    torch.manual_seed(recipe.train.seed)
    bare = models.load_for(recipe, base, device=device)
    if start:
        log.info("going on from %s", start)
        more = {"epochs": recipe.train.more_epochs, "learning_rate": recipe.train.more_learning_rate}
        recipe = recipe.model_copy(update={"train": recipe.train.model_copy(update=more)})
        adapted = models.with_shipped_adapter(bare, start, recipe.lora)
    else:
        adapted = models.adapt(bare, recipe)
    learned = finetune(
        adapted,
        Examples(
            topic,
            tokenizer,
            lessons,
            recipe.data,
            passes=recipe.train.epochs,
            augment=True,
            seed=recipe.train.seed,
        ),
        Examples(topic, tokenizer, sets.validation, recipe.data, augment=False),
        recipe,
        folder.path,
        collate=Padded(tokenizer.pad_token_id),
        epochs=1,  # the passes are in the data set: they are not all alike
        passes=recipe.train.epochs,
        device=device,
        # Batches of like length: a third less padding on questions and answers.
        sampling="group_by_length",
    )
    if not processes.is_main_process:
        return {}
    models.save_adapter(adapted, base, folder.adapter)
    shutil.rmtree(folder.path / "checkpoints", ignore_errors=True)
    del bare, adapted
    models.make_room()
    result = prove(topic, recipe, base, folder, rows, sets, everything=everything, device=device)
    result["training"] = learned
    result["epochs"] = recipe.train.epochs
    result["went_on_from"] = dataset_of(start) if start else None
    result["seconds"] = round(time.monotonic() - began, 1)
    write_result(topic, recipe, folder, result)
    return result


def _measure_base(
    topic: Topic, recipe: Recipe, base: str, folder: RunFolder, rows: list[Row], sets: Split, began: float, device: str
) -> dict[str, Any]:
    """The run of a recipe that trains nothing: what the base says by itself."""
    bare, tokenizer = models.load_to_answer(base, device), models.load_tokenizer(base)
    scores = {"base": evaluate(bare, tokenizer, topic, sets, recipe, questions=recipe.evaluate.questions)}
    result = {**_made_of(topic, recipe, base, rows), "scores": scores, "seconds": round(time.monotonic() - began, 1)}
    write_result(topic, recipe, folder, result)
    return result


def _made_of(topic: Topic, recipe: Recipe, base: str, rows: list[Row]) -> dict[str, Any]:
    return {
        "topic": topic.id,
        "recipe": recipe.name,
        "base": {"name": base, "revision": models.revision(base)},
        "dataset_hash": dataset_hash(rows),
    }


def dataset_of(adapter: Path) -> str:
    """The hash of the facts that a shipped adapter was trained on."""
    return str(json.loads((adapter / "made_of.json").read_text(encoding="utf-8"))["dataset_hash"])


def prove(
    topic: Topic,
    recipe: Recipe,
    base: str,
    folder: RunFolder,
    rows: list[Row],
    sets: Split,
    *,
    everything: bool,
    quick: bool = False,
    device: str = "auto",
) -> dict[str, Any]:
    """Merges `folder.adapter`, checks parity and evaluates. Raises ParityError when merging changed the answers."""
    tokenizer = models.load_tokenizer(base)
    how = _merge(topic, recipe, base, folder, tokenizer, sets, device)
    sample = parity_sample(sets, recipe.evaluate.parity_prompts, seed=recipe.train.seed)
    prompts = rendered(tokenizer, topic, sample)
    # One model after the other: a large one is not held twice.
    by_adapter = greedy_ids(
        _adapted(recipe, base, folder, how, device), tokenizer, prompts, topic.generation.max_tokens
    )
    models.make_room()
    merged = models.load_to_answer(str(folder.weights), device)
    parity = compare(
        by_adapter,
        merged,
        tokenizer,
        prompts,
        max_tokens=topic.generation.max_tokens,
        epsilon=recipe.evaluate.parity_epsilon,
    )
    log.info(
        "parity: %d of %d prompts give the same greedy tokens, %d differ only at a near-tie",
        parity.same,
        parity.prompts,
        parity.excused,
    )
    if not parity.holds:
        raise ParityError(
            f"{folder.weights}: only {parity.same + parity.excused} of {parity.prompts} prompts are answered as by the "
            "adapter; this release is not promoted. Train again, or report this with the run folder"
        )
    count = 40 if quick else recipe.evaluate.questions
    scores = {"tuned": evaluate(merged, tokenizer, topic, sets, recipe, questions=count)}
    if not quick:
        del merged
        models.make_room()
        bare = models.load_to_answer(base, device)
        scores["base"] = evaluate(bare, tokenizer, topic, sets, recipe, questions=recipe.evaluate.base_questions)
    return {
        **_made_of(topic, recipe, base, rows),
        "merged": how,
        "everything": everything,
        "parity": parity._asdict(),
        "scores": scores,
    }


def _merge(
    topic: Topic, recipe: Recipe, base: str, folder: RunFolder, tokenizer: Any, sets: Split, device: str
) -> dict[str, Any] | None:
    """Writes the merged weights. Returns which of two ways was taken, where there are two."""
    if recipe.method not in QUANTISED:
        models.merge(base, folder.adapter, folder.weights, tokenizer)
        return None
    validation = Examples(topic, tokenizer, sets.validation, recipe.data, augment=False)
    held_out = [validation[i] for i in range(len(validation))]
    return models.merge_quantised(
        recipe,
        base,
        folder.adapter,
        folder.weights,
        tokenizer,
        lambda model: math.log(perplexity(forced(model, tokenizer, held_out))),
        device,
    )


def _adapted(recipe: Recipe, base: str, folder: RunFolder, how: dict[str, Any] | None, device: str) -> Any:
    """The model that the merged weights must answer like."""
    if how is None:
        return models.load_adapter(base, folder.adapter, device)
    return models.load_merged_from(recipe, base, folder.adapter, how["kept"], device)


def _fresh(out: Path) -> None:
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)


def write_result(topic: Topic, recipe: Recipe, folder: RunFolder, result: dict[str, Any]) -> None:
    """Writes `recipe.json`, `eval.json` and `report.html`."""
    (folder.path / "recipe.json").write_text(recipe.model_dump_json(indent=1), encoding="utf-8")
    write_figures(topic, folder, result)


def write_figures(topic: Topic, folder: RunFolder, result: dict[str, Any]) -> None:
    """Writes `eval.json` and `report.html`."""
    folder.result.write_text(json.dumps(result, indent=1, ensure_ascii=False), encoding="utf-8")
    write_report(folder.report, folder.path, title=report_title(topic))


def report_title(topic: Topic) -> str:
    """What stands above a run's report."""
    return f"{topic.name(topic.languages[0])}: training report"
