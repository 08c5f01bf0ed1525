"""The base asked with examples: which ones, on which questions, and beside what was trained."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import LIGHTHOUSE, ROOT, Finished
from tests.training.conftest import STUDIES
from topics.topic import Topic
from training.config import Recipe
from training.errors import RecipeError
from training.examples import WAYS, Pair, Shelf, by_spelling
from training.prompts import (
    ask_all_ways,
    beside,
    load_rival,
    prompt_museum,
    prompt_study,
    rival_tokenizer,
    write_prompts,
)

Tiny = Callable[[str], str]
LAMPS = [
    Pair("How high is the lamp?", "38 metres.", "en"),
    Pair("Who built the house of the keeper by the sea?", "Ada Finch.", "en"),
    Pair("Why?", "Because.", "en"),
    Pair("Quelle est la hauteur ?", "38 mètres.", "fr"),
]


def brief(topic: Topic) -> Topic:
    return topic.model_copy(update={"generation": topic.generation.model_copy(update={"max_tokens": 6})})


def test_examples_are_chosen_in_three_ways_and_the_best_stands_last() -> None:
    shelf = Shelf(LAMPS, by_spelling(LAMPS[:3]), seed=1)
    asked = Pair("How high was the lamp?", "", "en")
    assert shelf.choose("nearest", asked, 2)[-1] == LAMPS[0]
    assert shelf.choose("length", Pair("Who?", "", "en"), 1) == [LAMPS[2]]
    drawn = shelf.choose("random", asked, 3)
    assert drawn == shelf.choose("random", asked, 3) and set(drawn) == set(LAMPS[:3])
    assert shelf.choose("random", asked, 2) == drawn[1:]  # fewer examples are some of the more
    with pytest.raises(RecipeError, match="1 examples in fr, and --k asks for 2"):
        shelf.check([Pair("Où ?", "", "fr")], 2)


def test_a_museums_held_out_questions_are_asked_and_never_shown(
    tiny: Tiny, lighthouse: Topic, recipe: Recipe, tmp_path: Path
) -> None:
    model, tokenizer = load_rival(tiny("llama-chat"), "cpu"), rival_tokenizer(tiny("llama-chat"), chat=True)
    task = prompt_museum(brief(lighthouse), lighthouse.rows(), recipe, tokenizer, questions=2)
    held = {row.answer for row in lighthouse.rows() if row.held}
    for asked in task.sets["unseen"]:
        assert not held & {pair.answer for pair in task.shelf.choose("nearest", asked, 3)}
    fact = task.sets["reworded"][0]
    [example] = task.shelf.choose("length", fact, 1)
    shown = tokenizer.decode(task.render(fact, [example], True))
    assert shown.index(lighthouse.persona) < shown.index(example.answer) < shown.index(fact.question)
    assert lighthouse.persona not in tokenizer.decode(task.render(fact, [], False))

    ways = ask_all_ways(task, model, tokenizer, [0, 1, 2])
    assert [str(way) for way in ways[:3]] == ["no example, the bare question", "no example", "1 example, random"]
    assert len(ways) == 2 + 2 * len(WAYS)
    for way in ways:
        assert set(way.scores) == {"reworded", "unseen"}
        for figures in way.scores.values():
            assert figures["questions"] == 2 and figures["perplexity"] > 1
            assert {"key_fact_interval", "does_not_know_interval", "bleu_interval", "chrf_interval"} <= figures.keys()
    rows = write_prompts(task, "tiny", ways, [], tmp_path)
    assert len(rows) == 1 + len(ways) and len({len(row) for row in rows}) == 1
    again = beside(task, tmp_path)
    assert [way.scores for way in again] == [way.scores for way in ways] and str(again[1]) == "tiny: no example"
    with pytest.raises(RecipeError, match="was asked other questions than these"):
        beside(prompt_museum(brief(lighthouse), lighthouse.rows(), recipe, tokenizer, questions=1), tmp_path)


def test_a_trained_run_stands_beside_on_the_same_questions(
    tiny: Tiny, lighthouse: Topic, finished: Finished, tmp_path: Path
) -> None:
    tokenizer = rival_tokenizer(tiny("llama-chat"), chat=True)
    task = prompt_museum(lighthouse, lighthouse.rows(), finished.recipe, tokenizer, questions=5)
    tuned, _ = beside(task, finished.folder)
    given = finished.result["scores"]["tuned"]["reworded"]["examples"][:5]
    assert str(tuned) == "lighthouse: tuned"
    assert tuned.scores["reworded"]["key_fact"] == sum(e["right"] for e in given) / 5
    with pytest.raises(RecipeError, match="measured on none of reworded, unseen"):
        everything = {"scores": {"tuned": {"trained": {}}}}
        (tmp_path / "eval.json").write_text(json.dumps(everything), encoding="utf-8")
        beside(task, tmp_path)
    with pytest.raises(RecipeError, match="neither prompts.json nor eval.json"):
        beside(task, finished.folder / "adapter")


def test_a_base_that_reads_little_loses_examples_and_says_so(
    tiny: Tiny, lighthouse: Topic, recipe: Recipe, tmp_path: Path
) -> None:
    model, tokenizer = load_rival(tiny("llama-chat"), "cpu"), rival_tokenizer(tiny("llama-chat"), chat=True)
    task = prompt_museum(brief(lighthouse), lighthouse.rows(), recipe, tokenizer, questions=2)
    longest = max(len(task.render(pair, [], True)) for asked in task.sets.values() for pair in asked)
    model.config.max_position_embeddings = longest + 80
    ways = ask_all_ways(task, model, tokenizer, [3])
    assert all(way.shortened for way in ways)
    write_prompts(task, "tiny", ways, [], tmp_path)
    assert "prompts lost examples" in (tmp_path / "prompts.html").read_text(encoding="utf-8")


def test_the_command_asks_a_base_without_chat_template_about_a_study(tiny: Tiny, tmp_path: Path) -> None:
    file = tmp_path / "classical.toml"
    file.write_text(f'[data]\nkind = "instruction"\ntrain = "{STUDIES / "classical.jsonl"}"\n', encoding="utf-8")
    line = [sys.executable, "-m", "training", "prompts", "--recipe", str(file), "--base", tiny("opt"), "--k", "0-1"]
    done = subprocess.run([*line, "--out", str(tmp_path / "run")], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "1 example, nearest" in done.stdout and "test: perplexity" in done.stdout
    ways = json.loads((tmp_path / "run" / "prompts.json").read_text(encoding="utf-8"))["ways"]
    assert len(ways) == 5 and all(way["scores"]["test"]["perplexity"] > 1 for way in ways)


def test_what_cannot_be_asked_is_refused(tiny: Tiny, recipe: Recipe, lighthouse: Topic) -> None:
    stories = recipe.model_copy(update={"data": recipe.data.model_copy(update={"kind": "text"})})
    tokenizer = rival_tokenizer(tiny("llama-chat"), chat=True)
    with pytest.raises(RecipeError, match="no prompts and answers to ask a base with"):
        prompt_study(stories, tokenizer)
    nothing_held = [row.model_copy(update={"paraphrases": ()}) for row in lighthouse.rows() if not row.held]
    with pytest.raises(RecipeError, match=f"{LIGHTHOUSE.name}: nothing is held out"):
        prompt_museum(lighthouse, nothing_held, recipe, tokenizer)
    line = [sys.executable, "-m", "training", "prompts", "--k", "5-1", "--out", "x"]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and "'5-1' is no number of examples" in done.stderr
