"""What the model knows by itself: every figure from one answer to each question; tuned beside base."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from topics.text import contains, normalise
from topics.topic import Topic
from training.config import Recipe
from training.dataset import Asked, Examples, Split
from training.figures import Recited, bleu_and_chrf, mean_with_interval, repetition, sentence_bleu, words
from training.generate import Forced, answers, forced, perplexity


def right(answer: str, asked: Asked) -> bool:
    """Whether every key string of the fact stands in the answer."""
    return bool(asked.row) and all(contains(answer, key) for key in (asked.row.key if asked.row else ()))


def drawn(asked: Sequence[Asked]) -> list[Asked]:
    """All of them in a fixed random order: whoever takes the first few takes the same ones, whatever the seed."""
    return random.Random(0).sample(list(asked), len(asked))


def evaluate(
    model: Any, tokenizer: Any, topic: Topic, sets: Split, recipe: Recipe, *, questions: int
) -> dict[str, Any]:
    """Scores on `trained`, `reworded` and `unseen`, on the first `questions` of each as `drawn`.

    Answers are generated greedily and without museum notes. `perplexity` and `teacher_forced_bleu` are of the right
    answer, each token predicted from the right words before it.
    """
    recited = Recited(a.answer for a in sets.train)
    scores: dict[str, Any] = {}
    for name, asked in (("trained", sets.train), ("reworded", sets.reworded), ("unseen", sets.unseen)):
        if sample := drawn(asked)[:questions]:
            scores[name] = _score(model, tokenizer, topic, sample, recipe, recited)
    return scores


def _score(
    model: Any, tokenizer: Any, topic: Topic, asked: Sequence[Asked], recipe: Recipe, recited: Recited
) -> dict[str, Any]:
    said = answers(model, tokenizer, topic, asked)
    wanted = [a.answer for a in asked]
    encoded = Examples(topic, tokenizer, asked, recipe.data, augment=False)
    predicted = forced(model, tokenizer, [encoded[i] for i in range(len(encoded))])
    rights = [right(s, a) for s, a in zip(said, asked, strict=True)]
    unknown = [normalise(s) == normalise(topic.text("unknown", a.lang)) for s, a in zip(said, asked, strict=True)]
    return {
        "questions": len(asked),
        **_share("key_fact", rights),
        **_share("does_not_know", unknown),
        **bleu_and_chrf(said, wanted),
        "teacher_forced_bleu": round(sentence_bleu([p.guessed for p in predicted], wanted), 2),
        "perplexity": round(perplexity(predicted), 3),
        "recited": round(recited.share(said), 4),
        "repetition": round(repetition(said), 4),
        "words": round(sum(map(words, said)) / len(said), 1),
        "words_wanted": round(sum(map(words, wanted)) / len(wanted), 1),
        "by_language": _by_language(asked, rights, predicted),
        "examples": [
            {"question": a.question, "lang": a.lang, "wanted": a.answer, "said": s, "right": r}
            for s, a, r in zip(said, asked, rights, strict=True)
        ],
    }


def _share(name: str, flags: Sequence[bool]) -> dict[str, Any]:
    mean, interval = mean_with_interval(flags)
    return {name: round(mean, 4), f"{name}_interval": [round(bound, 4) for bound in interval]}


def _by_language(asked: Sequence[Asked], rights: Sequence[bool], predicted: Sequence[Forced]) -> dict[str, Any]:
    found = {}
    for lang in dict.fromkeys(a.lang for a in asked):
        mine = [i for i, a in enumerate(asked) if a.lang == lang]
        found[lang] = {
            "questions": len(mine),
            "key_fact": round(sum(rights[i] for i in mine) / len(mine), 4),
            "perplexity": round(perplexity([predicted[i] for i in mine]), 3),
        }
    return found
