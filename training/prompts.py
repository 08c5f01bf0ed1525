"""Prompting as the rival of training: the base as it is, without examples and with a few, on held-out questions."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import TemplateError

from topics.evidence import Evidence
from topics.page import heading, said, table, write_page
from topics.prompt import Message, Turn, messages, render
from topics.questions import Row
from topics.text import normalise
from topics.topic import Topic
from training import model as models
from training.config import Recipe
from training.corpus import PLAIN_CHAT, prompt_ids, read_corpus
from training.dataset import Asked, split
from training.errors import BaseError, RecipeError
from training.evaluate import drawn, right
from training.examples import WAYS, Pair, Shelf, by_spelling
from training.figures import bleu_and_chrf, mean_with_interval
from training.generate import forced, greedy_ids, perplexity

log = logging.getLogger(__name__)
_STUDY_TOKENS = 128
"""Longest answer to a study's prompt."""
Figures = Mapping[str, Any]


@dataclass(frozen=True)
class Task:
    """What is asked, what examples there are, and how both become a prompt."""

    name: str
    sets: Mapping[str, Sequence[Pair]]
    shelf: Shelf
    render: Callable[[Pair, Sequence[Pair], bool], list[int]]
    """Token ids of examples and question; the last argument says whether the task is described before them."""
    judge: Callable[[str, Sequence[str]], Figures]
    """Figures beyond those of any text, of the answers to a set."""
    max_tokens: int


class Way(NamedTuple):
    """One way of asking, and what came of it on each set."""

    examples: int
    chosen: str
    described: bool
    scores: Mapping[str, Figures]
    shortened: int = 0
    """Prompts that lost examples, because the base reads no further."""

    def __str__(self) -> str:
        if not self.examples:
            return self.chosen or ("no example" if self.described else "no example, the bare question")
        return f"{self.examples} example{'s' * (self.examples > 1)}, {self.chosen}"


def prompt_museum(
    topic: Topic, rows: Sequence[Row], recipe: Recipe, tokenizer: Any, *, questions: int | None = None
) -> Task:
    """A museum's facts: held-out wordings and facts are asked, the others are the examples."""
    questions = questions or recipe.evaluate.base_questions
    sets = split(topic, rows, recipe.data, seed=recipe.train.seed)
    told = [row for row in rows if not row.held]
    index = Evidence(topic, told)
    held = {name: drawn(asked)[:questions] for name, asked in (("reworded", sets.reworded), ("unseen", sets.unseen))}
    if not any(held.values()):
        raise RecipeError(f"{topic.folder}: nothing is held out, so there is nothing to ask; mark rows as held")

    def nearest(asked: Pair, count: int) -> list[Pair]:
        return [_pair_of(match.row) for match in index.search(asked.question, asked.lang, count)]

    def rendered(asked: Pair, examples: Sequence[Pair], described: bool) -> list[int]:
        before = [Turn(example.question, example.answer) for example in examples]
        talk: list[Message] = messages(topic, asked.question, history=before)
        return render(tokenizer, talk if described else talk[1:])

    def judge(name: str, said: Sequence[str]) -> Figures:
        return _keys(topic, held[name], said)

    return Task(
        topic.id,
        {name: [Pair(a.question, a.answer, a.lang) for a in asked] for name, asked in held.items() if asked},
        Shelf([_pair_of(row) for row in told], nearest, seed=recipe.train.seed),
        rendered,
        judge,
        topic.generation.max_tokens,
    )


def _pair_of(row: Row) -> Pair:
    return Pair(row.question, row.answer, row.lang)


def _keys(topic: Topic, asked: Sequence[Asked], said: Sequence[str]) -> Figures:
    known = [right(s, a) for s, a in zip(said, asked, strict=True)]
    unknown = [normalise(s) == normalise(topic.text("unknown", a.lang)) for s, a in zip(said, asked, strict=True)]
    return {**_share("key_fact", known), **_share("does_not_know", unknown)}


def _share(name: str, flags: Sequence[bool]) -> Figures:
    mean, interval = mean_with_interval(flags)
    return {name: round(mean, 4), f"{name}_interval": [round(bound, 4) for bound in interval]}


def prompt_study(recipe: Recipe, tokenizer: Any, *, questions: int | None = None) -> Task:
    """A study's prompts and answers: the test rows are asked, the training rows are the examples."""
    if recipe.task != "causal" or recipe.data.kind not in ("instruction", "pairs"):
        raise RecipeError(
            f"{recipe.name}: no prompts and answers to ask a base with; take a recipe with task = 'causal' and "
            "data.kind = 'instruction' or 'pairs', or a museum with --topic"
        )
    corpus = read_corpus(recipe.data, seed=recipe.train.seed)
    pool, asked = (
        [Pair(str(row.fields["prompt"]), str(row.fields["answer"]), row.lang) for row in part]
        for part in (corpus.train, corpus.test)
    )
    plain = recipe.data.model_copy(update={"template": "{prompt}\n"})

    def rendered(asked: Pair, examples: Sequence[Pair], described: bool) -> list[int]:
        data = recipe.data if described else plain
        ids: list[int] = []
        for example in examples:
            ids += [*prompt_ids(example.question, tokenizer, data), *_ids(tokenizer, f"{example.answer}\n")]
        return ids + prompt_ids(asked.question, tokenizer, data)

    return Task(
        recipe.name,
        {"test": asked[:questions]},
        Shelf(pool, by_spelling(pool), seed=recipe.train.seed),
        rendered,
        lambda name, said: {},
        _STUDY_TOKENS,
    )


def _ids(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def rival_tokenizer(base: str, *, chat: bool) -> Any:
    """Any base's tokenizer; with `chat`, one that has no chat template gets a plain one. Raises BaseError."""
    tokenizer = models.load_tokenizer(base, chat=False)
    if chat and tokenizer.chat_template is None:
        log.info("%s has no chat template: asked as `user: … assistant: …`", base)
        tokenizer.chat_template = PLAIN_CHAT
    return tokenizer


def load_rival(base: str, device: str) -> Any:
    """Any base, ready to be asked. Raises BaseError."""
    return models.load_to_answer(base, device)


def ask_all_ways(task: Task, model: Any, tokenizer: Any, counts: Sequence[int]) -> list[Way]:
    """Asks without examples in two ways, and with each of `counts` examples in three. Raises RecipeError, BaseError."""
    for asked in task.sets.values():
        task.shelf.check(asked, max(counts, default=0))
    ways = [(0, "", False), (0, "", True)] if 0 in counts else []
    ways += [(count, way, True) for way in WAYS for count in counts if count]
    found = []
    for count, way, described in ways:
        found.append(_asked(task, model, tokenizer, Way(count, way, described, {})))
        log.info("%s: %s", found[-1], "; ".join(f"{n} {_in_words(s)}" for n, s in found[-1].scores.items()))
    return found


def _asked(task: Task, model: Any, tokenizer: Any, way: Way) -> Way:
    room = getattr(model.config, "max_position_embeddings", None) or 10**9
    scores, shortened = {}, 0
    for name, asked in task.sets.items():
        prompts = []
        for pair in asked:
            examples = task.shelf.choose(way.chosen, pair, way.examples) if way.examples else []
            answer = [*_ids(tokenizer, pair.answer), tokenizer.eos_token_id]
            prompt = _within(task, pair, examples, way.described, room - max(task.max_tokens, len(answer)))
            shortened += prompt.shortened
            prompts.append((prompt.ids, answer))
        scores[name] = _scored(task, model, tokenizer, name, prompts)
    return way._replace(scores=scores, shortened=shortened)


class _Prompt(NamedTuple):
    ids: list[int]
    shortened: bool


def _within(task: Task, pair: Pair, examples: Sequence[Pair], described: bool, room: int) -> _Prompt:
    """The prompt with as many examples as fit; the best ones, which stand last, go last."""
    for first in range(len(examples) + 1):
        try:
            ids = task.render(pair, examples[first:], described)
        except TemplateError as error:
            raise BaseError(f"the base's chat template refuses this conversation ({error}); choose another") from error
        if len(ids) <= room:
            return _Prompt(ids, first > 0)
    raise BaseError(f"the base reads too little for {pair.question[:40]!r} and its answer; choose another")


def _scored(
    task: Task, model: Any, tokenizer: Any, name: str, prompts: Sequence[tuple[list[int], list[int]]]
) -> Figures:
    ids = greedy_ids(model, tokenizer, [prompt for prompt, _ in prompts], task.max_tokens)
    said = [tokenizer.decode(i, skip_special_tokens=True).strip() for i in ids]
    if tokenizer.chat_template in (None, PLAIN_CHAT):
        # A base that was never taught to end goes on with a question of its own; that is no part of the answer.
        said = [text.partition("\n")[0].strip() for text in said]
    right_ones = [{"input_ids": p + a, "labels": [-100] * len(p) + a} for p, a in prompts]
    wanted = [pair.answer for pair in task.sets[name]]
    return {
        "questions": len(said),
        **task.judge(name, said),
        **bleu_and_chrf(said, wanted),
        "perplexity": round(perplexity(forced(model, tokenizer, right_ones, batch=8)), 3),
    }


def beside(task: Task, folder: Path) -> list[Way]:
    """What another run came to on the same questions, by its `prompts.json`, or by the two models of its `eval.json`.

    Raises RecipeError where it was asked other questions.
    """
    if (folder / "prompts.json").is_file():
        result = json.loads((folder / "prompts.json").read_text(encoding="utf-8"))
        if result["asked"] != _asked_for(task):
            raise _other_questions(folder)
        ways = [Way(**way) for way in result["ways"]]
        return [Way(0, f"{result['base']}: {way}", True, way.scores, way.shortened) for way in ways]
    if not (folder / "eval.json").is_file():
        raise RecipeError(f"{folder}: neither prompts.json nor eval.json, so it is no finished run; leave it out")
    scores = json.loads((folder / "eval.json").read_text(encoding="utf-8"))["scores"]
    if "test" in task.sets and "loss" in next(iter(scores.values())):  # a study measures on one set
        return [Way(0, f"{folder.name}: {model}", True, {"test": figures}) for model, figures in scores.items()]
    if not any(name in sets for sets in scores.values() for name in task.sets):
        raise RecipeError(
            f"{folder}: was measured on none of {', '.join(task.sets)}; perhaps it learned the held-out wordings as "
            "well: train with `python -m training run` and without --all"
        )
    found = []
    for model, sets in scores.items():
        again = {name: _again(task, name, sets[name], folder) for name in task.sets if name in sets}
        found.append(Way(0, f"{folder.name}: {model}", True, again))
    return found


def _again(task: Task, name: str, figures: Figures, folder: Path) -> Figures:
    """The figures of a run's answers to these questions; it may have been asked more, in the same order."""
    given = figures["examples"][: len(task.sets[name])]
    if [e["question"] for e in given] != [pair.question for pair in task.sets[name]]:
        raise _other_questions(folder)
    answers = [e["said"] for e in given]
    more = {"perplexity": figures["perplexity"]} if figures["questions"] == len(given) else {}
    return {**task.judge(name, answers), **bleu_and_chrf(answers, [e["wanted"] for e in given]), **more}


def _other_questions(folder: Path) -> RecipeError:
    return RecipeError(
        f"{folder}: was asked other questions than these, so its figures cannot stand beside them; give the same "
        "topic, recipe and at most as many --questions, or leave it out"
    )


def _asked_for(task: Task) -> dict[str, Any]:
    return {"of": task.name, **{name: [pair.question for pair in asked] for name, asked in task.sets.items()}}


def write_prompts(task: Task, base: str, ways: Sequence[Way], others: Sequence[Way], out: Path) -> list[list[str]]:
    """Writes `prompts.json` and `prompts.html` into `out`; returns the table, its head first."""
    out.mkdir(parents=True, exist_ok=True)
    result = {"base": base, "asked": _asked_for(task), "ways": [w._asdict() for w in ways]}
    (out / "prompts.json").write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    head, *rows = shown = _table(task, [*ways, *others])
    parts = [
        said(f"{base}, not trained, asked about {task.name} in {len(ways)} ways."),
        heading("Every way"),
        table(head, rows),
        "In brackets: where the figure lies with a probability of 95 %, had other questions been drawn. Perplexity is "
        "of the right answer after the prompt. The bare question comes without the guide’s persona, or without the "
        "recipe’s template. Examples are taken from what is trained: at random, of the question’s own length, or the "
        "nearest, which in the museum is often the very fact, so that the answer is read and not known.",
    ]
    if cut := sum(way.shortened for way in ways):
        parts.append(f"{cut} prompts lost examples: they were longer than the base reads.")
    write_page(out / "prompts.html", f"{task.name}: prompting instead of training", parts)
    return shown


_COLUMNS = {
    "key_fact": "key fact",
    "does_not_know": "does not know",
    "bleu": "BLEU",
    "chrf": "chrF",
    "perplexity": "perplexity",
}


def _table(task: Task, ways: Sequence[Way]) -> list[list[str]]:
    columns = [(n, key) for n in task.sets for key in _COLUMNS if any(key in w.scores.get(n, {}) for w in ways)]
    head = ["asked with", *(f"{name}: {_COLUMNS[key]}" for name, key in columns)]
    return [head, *([str(way), *(_figure(way.scores.get(n, {}), key) for n, key in columns)] for way in ways)]


def _figure(scores: Figures, key: str) -> str:
    if key not in scores:
        return "–"
    times = 100 if key in ("key_fact", "does_not_know") else 1
    value = f"{scores[key] * times:.1f}" if times == 1 else f"{scores[key]:.0%}"
    low, high = (bound * times for bound in scores.get(f"{key}_interval", (0, 0)))
    return f"{value} ({low:.0f}–{high:.0f})" if f"{key}_interval" in scores else value


def _in_words(scores: Figures) -> str:
    return ", ".join(f"{_COLUMNS[key]} {_figure(scores, key)}" for key in _COLUMNS if key in scores)
