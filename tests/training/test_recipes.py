"""Every recipe runs, for real and in seconds: on a tiny base of its architecture, over rows this project wrote."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.training.conftest import STUDIES
from topics.topic import Topic
from training.config import RECIPES, UNMERGEABLE, Recipe, load_recipe
from training.progress import read_progress
from training.run import train
from training.study import study


class Small(NamedTuple):
    """What stands for a recipe's base and data here."""

    base: str
    data: str = ""
    changes: dict[str, Any] = {}
    train: dict[str, Any] = {}


SMALL = {
    "story_zh": Small("llama", "stories_zh.jsonl", {"columns": {}}),
    "story_pt": Small("llama", "stories_pt.jsonl"),
    "story_ja": Small("llama", "stories_ja.jsonl"),
    "classical_chinese_qlora": Small("llama-chat", "classical.jsonl"),
    "sentiment_t5": Small("t5", "mood.csv"),
    "chatbot": Small("opt", "conversations.jsonl"),
    "medtext": Small("falcon", "first_aid.csv", train={"epochs": 3}),
    "quotes": Small("opt", "quotes.jsonl"),
    "mrpc_p_tuning": Small("bert", "paraphrases.jsonl", train={"epochs": 30}),
    "mrpc_prefix": Small("bert", "paraphrases.jsonl", train={"epochs": 30}),
    "mrpc_bottleneck": Small("bert", "paraphrases.jsonl", train={"epochs": 30}),
}
MUSEUM = {"museum_mini", "museum_mini_large", "museum_7b_qlora", "museum_falcon"}


def small(name: str) -> Recipe:
    """The recipe as it is, but for its data, and as many steps at such a rate as a tiny base needs."""
    made, recipe = SMALL[name], load_recipe(name)
    file = str(STUDIES / made.data)
    data = {"train": file, "validation": file, "test": "", "hub": "", "subset": "", "max_length": 64, **made.changes}
    steps = {"epochs": 8, "max_steps": -1, "batch_size": 4, "accumulation": 1, "learning_rate": 1e-2, "evaluations": 2}
    return recipe.model_copy(
        update={
            "data": recipe.data.model_copy(update=data),
            "train": recipe.train.model_copy(update={**steps, "warmup_steps": 2, "warmup_ratio": None, **made.train}),
            "evaluate": recipe.evaluate.model_copy(update={"questions": 5}),
        }
    )


def test_every_recipe_is_tried() -> None:
    there = {f.stem for f in RECIPES.glob("*.toml")}
    assert there == SMALL.keys() | MUSEUM and len(there) == 15


@pytest.mark.parametrize("name", SMALL)
def test_a_study_learns_saves_reloads_and_merges(name: str, tiny: Callable[[str], str], tmp_path: Path) -> None:
    recipe = small(name)
    out = tmp_path / "run"
    result = study(recipe, tiny(SMALL[name].base), out, device="cpu")
    losses = [float(line["loss"]) for line in read_progress(out / "progress.jsonl") if "loss" in line]
    assert losses[-1] < losses[0]
    tuned = result["scores"]["tuned"]
    assert tuned["loss"] < result["scores"]["base"]["loss"]
    assert result["reloaded"]["loss"] == pytest.approx(tuned["loss"], abs=2e-3)
    if recipe.task != "classification":
        assert {"bleu_interval", "chrf_interval", "recited", "repetition", "words", "perplexity"} <= tuned.keys()
        assert len(tuned["examples"]) == len(result["scores"]["base"]["examples"]) == 5
    files = {f.name for f in out.iterdir()}
    assert {"recipe.json", "progress.jsonl", "eval.json", "report.html"} <= files and "checkpoints" not in files
    assert ("adapter" in files) == (recipe.method != "full")
    assert ("weights" in files) == (recipe.method not in UNMERGEABLE)
    if result["merged"]:
        kept = result["merged"]["held_out_loss"]
        assert kept[result["merged"]["kept"]] == min(kept.values()) == pytest.approx(tuned["loss"], abs=0.1)
        assert len(kept) == (1 if recipe.method == "lora" else 2)
    assert json.loads((out / "eval.json").read_text(encoding="utf-8")) == result


@pytest.mark.parametrize(("name", "base"), [("museum_7b_qlora", "llama-chat"), ("museum_falcon", "falcon-chat")])
def test_a_guide_is_trained_over_a_base_in_four_bits(
    name: str, base: str, tiny: Callable[[str], str], lighthouse: Topic, tmp_path: Path
) -> None:
    recipe = load_recipe(name).each_trial()[-1]
    steps = {"epochs": 1, "max_steps": 12, "batch_size": 4, "accumulation": 1, "evaluations": 2, "learning_rate": 1e-2}
    recipe = recipe.model_copy(
        update={
            "train": recipe.train.model_copy(update=steps),
            "evaluate": recipe.evaluate.model_copy(update={"questions": 2, "base_questions": 2, "parity_prompts": 2}),
        }
    )
    topic = lighthouse.model_copy(update={"generation": lighthouse.generation.model_copy(update={"max_tokens": 8})})
    result = train(topic, recipe, tiny(base), tmp_path / "run", device="cpu")
    losses = [line["loss"] for line in read_progress(tmp_path / "run" / "progress.jsonl") if "loss" in line]
    assert losses[-1] < losses[0]
    assert result["merged"]["kept"] in result["merged"]["held_out_loss"].keys() == {"original", "round trip"}
    assert result["parity"]["same"] + result["parity"]["excused"] == 2


def test_the_falcon_sweep_is_the_seven_published_trials(
    tiny: Callable[[str], str], lighthouse: Topic, tmp_path: Path
) -> None:
    trials = load_recipe("museum_falcon").each_trial()
    assert [t.name for t in trials] == [f"trial_{n}" for n in range(7)]
    assert [t.method for t in trials] == ["none"] + ["qlora"] * 6
    assert (trials[1].lora.r, trials[6].lora.r, trials[6].lora.skip_layers, trials[6].train.epochs) == (16, 64, 16, 10)
    bare = trials[0].model_copy(update={"evaluate": trials[0].evaluate.model_copy(update={"questions": 2})})
    topic = lighthouse.model_copy(update={"generation": lighthouse.generation.model_copy(update={"max_tokens": 8})})
    result = train(topic, bare, tiny("llama-chat"), tmp_path / "run", device="cpu")
    assert set(result["scores"]) == {"base"}
    assert {f.name for f in (tmp_path / "run").iterdir()} == {"recipe.json", "eval.json", "report.html"}
