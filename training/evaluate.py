"""What the model knows by itself: key facts, BLEU and chrF of free generation, perplexity; tuned beside base."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import sacrebleu

from topics.text import contains, normalise
from topics.topic import Topic
from training.config import Recipe
from training.dataset import Asked, Examples, Split
from training.generate import answers, perplexity


def right(answer: str, asked: Asked) -> bool:
    """Whether every key string of the fact stands in the answer."""
    return bool(asked.row) and all(contains(answer, key) for key in (asked.row.key if asked.row else ()))


def evaluate(
    model: Any, tokenizer: Any, topic: Topic, sets: Split, recipe: Recipe, *, questions: int
) -> dict[str, Any]:
    """Scores on `trained`, `reworded` and `unseen`, at most `questions` of each, drawn with the recipe's seed.

    Every figure is of free greedy generation without museum notes, but for perplexity, which is teacher-forced.
    """
    scores: dict[str, Any] = {}
    for name, asked in (("trained", sets.train), ("reworded", sets.reworded), ("unseen", sets.unseen)):
        sample = random.Random(recipe.train.seed).sample(asked, min(questions, len(asked)))
        if sample:
            scores[name] = _score(model, tokenizer, topic, sample, recipe)
    return scores


def _score(model: Any, tokenizer: Any, topic: Topic, asked: Sequence[Asked], recipe: Recipe) -> dict[str, Any]:
    said = answers(model, tokenizer, topic, asked)
    wanted = [a.answer for a in asked]
    encoded = Examples(topic, tokenizer, asked, recipe.data, augment=False)
    return {
        "questions": len(asked),
        "key_fact": round(sum(map(right, said, asked)) / len(asked), 4),
        "does_not_know": round(
            sum(normalise(s) == normalise(topic.text("unknown", a.lang)) for s, a in zip(said, asked, strict=True))
            / len(asked),
            4,
        ),
        "bleu": round(sacrebleu.corpus_bleu(said, [wanted]).score, 2),
        "chrf": round(sacrebleu.corpus_chrf(said, [wanted]).score, 2),
        "perplexity": round(perplexity(model, tokenizer, [encoded[i] for i in range(len(encoded))]), 3),
        "examples": [
            {"question": a.question, "wanted": a.answer, "said": s, "right": right(s, a)}
            for s, a in list(zip(said, asked, strict=True))[:15]
        ],
    }
