"""TopicFilter: TF-IDF of words and characters, and a logistic regression over five kinds of question.

The published recipe (word TF-IDF, balanced logistic regression) with accents folded, the subject's names made one
word, and character n-grams beside the words, so that typos and unaccented Vietnamese still match.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast
from zipfile import ZIP_DEFLATED, BadZipFile

import numpy as np
import skops.io
from numpy.typing import NDArray
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import FeatureUnion, Pipeline

from topics.prompt import Turn
from topics.questions import OffTopic, Row
from topics.text import normalise
from topics.topic import SUBJECT

Kind = Literal["topic", "visit", "greeting", "off", "attack"]
VERSION = 1
_LONGEST = 2000
"""Characters looked at from either end of a question; what stands between them cannot be its demand."""


class GateError(ValueError):
    """A gate file cannot be used; the message says why and which command makes a good one."""


class Verdict(NamedTuple):
    """What the gate thinks of one question."""

    on_topic: bool
    score: float
    """Probability that the question is the museum's, 0 to 1."""
    kind: Kind
    """The likeliest kind; `topic` exactly when `on_topic`."""


class TopicFilter:
    """Follows scikit-learn's contract: `__init__` only stores, `fit` learns, `decide` before `fit` raises."""

    def __init__(
        self, *, names: Sequence[str] = (), false_refusals: float = 0.08, C: float = 5.0, seed: int = 0
    ) -> None:
        """`names` are the subject's names; `false_refusals` the share of on-topic questions that may be turned away."""
        self.names = tuple(names)
        self.false_refusals = false_refusals
        self.C = C
        self.seed = seed

    def fit(self, rows: Sequence[Row], off_topic: Sequence[OffTopic]) -> TopicFilter:
        """Learns from the facts' wordings (held-out ones excluded) and from questions that are not the museum's.

        The threshold is set on five folds grouped by fact, so that no wording of a fact is judged by a model that
        saw another. Raises ValueError when there is nothing to tell apart.
        """
        mine = [(w, r.id) for r in rows if not r.held for w in r.wordings()]
        texts = [self._text(t) for t in [*(w for w, _ in mine), *(o.question for o in off_topic)]]
        kinds = np.array(["topic"] * len(mine) + [o.kind for o in off_topic])
        groups = np.array([g for _, g in mine] + [f"off {i}" for i in range(len(off_topic))])
        if len(set(kinds)) < 2:
            raise ValueError("a gate needs on-topic and off-topic questions; give both")
        out_of_fold = np.zeros(len(texts))
        folds = min(5, len(set(groups)))
        for train, test in GroupKFold(folds, shuffle=True, random_state=self.seed).split(texts, kinds, groups):
            if len(set(kinds[train])) > 1:
                model = self._new_pipeline().fit([texts[i] for i in train], kinds[train])
                out_of_fold[test] = _topic_probability(model, [texts[i] for i in test])
        self.threshold_ = _threshold(out_of_fold[kinds == "topic"], out_of_fold[kinds != "topic"], self.false_refusals)
        self.false_passes_ = float((out_of_fold[kinds != "topic"] >= self.threshold_).mean())
        self.pipeline_ = self._new_pipeline().fit(texts, kinds)
        return self

    def decide(self, question: str, history: Sequence[Turn] = ()) -> Verdict:
        """The verdict on one question; `history` counts only where the question is a fragment of its own."""
        return self.decide_many([question], [history])[0]

    def decide_many(self, questions: Sequence[str], histories: Sequence[Sequence[Turn]] | None = None) -> list[Verdict]:
        """Verdicts in the order of the questions; none depends on another."""
        if not hasattr(self, "pipeline_"):
            raise NotFittedError("this TopicFilter has not learned yet; call fit, or TopicFilter.load")
        if not questions:
            return []
        texts = [self._text(q) for q in questions]
        for i, history in enumerate(histories or []):
            if history and _is_fragment(texts[i]):
                texts[i] = f"{self._text(history[-1].question)} {texts[i]}"
        table = self.pipeline_.predict_proba(texts)
        classes = [cast(Kind, str(c)) for c in self.pipeline_.classes_]
        topic = classes.index("topic")
        verdicts = []
        for text, row in zip(texts, table, strict=True):
            score = float(row[topic]) if text else 0.0
            on_topic = score >= self.threshold_
            others = [(p, k) for p, k in zip(row, classes, strict=True) if k != "topic"]
            verdicts.append(Verdict(on_topic, score, "topic" if on_topic else (max(others)[1] if text else "off")))
        return verdicts

    def save(self, path: Path) -> None:
        """Writes the gate with skops, which stores data and no code."""
        learned = {
            "version": VERSION,
            "names": list(self.names),
            "threshold": self.threshold_,
            "false_passes": self.false_passes_,
            "pipeline": self.pipeline_,
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        skops.io.dump(learned, path, compression=ZIP_DEFLATED)

    @classmethod
    def load(cls, path: Path) -> TopicFilter:
        """Reads a gate. Raises GateError when it is missing, damaged, too old, or holds an unexpected type."""
        advice = "fit it again with `make train-gatekeeper`, or `python -m gatekeeper fit`"
        try:
            unexpected = skops.io.get_untrusted_types(file=path)
            if unexpected:
                raise GateError(
                    f"{path}: holds types a gate never holds ({', '.join(unexpected)}); do not use it, {advice}"
                )
            learned: dict[str, Any] = skops.io.load(path, trusted=[])
        except FileNotFoundError:
            raise GateError(f"{path}: there is no such gate; {advice}") from None
        except (BadZipFile, KeyError, TypeError, EOFError, OSError, json.JSONDecodeError) as error:
            raise GateError(f"{path}: not a gate file, or damaged; {advice}") from error
        if not isinstance(learned, dict) or learned.get("version") != VERSION:
            raise GateError(f"{path}: made by another version of Docent; {advice}")
        gate = cls(names=learned["names"])
        gate.pipeline_, gate.threshold_ = learned["pipeline"], float(learned["threshold"])
        gate.false_passes_ = float(learned["false_passes"])
        return gate

    def _new_pipeline(self) -> Pipeline:
        common: dict[str, Any] = {"sublinear_tf": True, "dtype": np.float32}
        features = FeatureUnion(
            [
                ("words", TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"\w+", min_df=2, **common)),
                ("letters", TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), min_df=3, **common)),
            ]
        )
        model = LogisticRegression(C=self.C, class_weight="balanced", max_iter=200, random_state=self.seed)
        return Pipeline([("features", features), ("model", model)])

    def _text(self, question: str) -> str:
        if len(question) > 2 * _LONGEST:
            question = f"{question[:_LONGEST]} {question[-_LONGEST:]}"
        return self._name_pattern.sub(SUBJECT, normalise(question)) if self.names else normalise(question)

    @property
    def _name_pattern(self) -> re.Pattern[str]:
        if not hasattr(self, "_pattern"):
            folded = sorted({normalise(n) for n in self.names} - {""}, key=len, reverse=True)
            self._pattern = re.compile(rf"\b(?:{'|'.join(map(re.escape, folded))})\b")
        return self._pattern


def _topic_probability(model: Pipeline, texts: Sequence[str]) -> NDArray[np.float64]:
    found = list(model.classes_)
    if "topic" not in found:
        return np.zeros(len(texts))
    return cast(NDArray[np.float64], model.predict_proba(texts)[:, found.index("topic")])


def _threshold(on: NDArray[np.float64], off: NDArray[np.float64], false_refusals: float) -> float:
    """The highest cut that refuses at most the allowed share of on-topic questions."""
    return float(np.clip(np.quantile(on, false_refusals), 0.02, 0.9)) if len(on) else 0.5


def _is_fragment(text: str) -> bool:
    return len(text.split()) <= 6 and SUBJECT not in text


def data_hash(
    rows: Sequence[Row], off_topic: Sequence[OffTopic], hasher: Callable[[bytes], Any] = hashlib.sha256
) -> str:
    """Names the questions a gate was fitted on."""
    lines = [r.model_dump_json() for r in rows] + [o.model_dump_json() for o in off_topic]
    return str(hasher("\n".join(sorted(lines)).encode()).hexdigest()[:16])
