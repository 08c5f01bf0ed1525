"""TopicFilter: is this question ours? Five kinds, one score, a band of doubt, and reasons.

TF-IDF and logistic regression as in the published recipe, on the features of `gatekeeper.features`.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast
from zipfile import ZIP_DEFLATED, BadZipFile

import numpy as np
import skops.io
from joblib import Parallel, cpu_count, delayed
from joblib.externals.loky import get_reusable_executor
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.utils.validation import check_is_fitted

from gatekeeper.features import QuestionFeatures
from gatekeeper.second import SURE, Encoder, SecondStage
from gatekeeper.threshold import Cuts, Platt, cuts
from topics.names import SUBJECT
from topics.prompt import Turn
from topics.topic import Gate

Kind = Literal["topic", "visit", "greeting", "off", "attack"]
VERSION = 4
_ADVICE = "fit it again with `make train-gatekeeper`, or `python -m gatekeeper fit`"
_SENTENCE_END = re.compile(r"(?<=[.!?…])\s+|(?<=[。！？\n])")
_PRONOUNS = frozenset("he him his she her hers il lui elle ses su sus 他 她 ong cu ba".split())
"""Words that mean the subject when the talk is about it; articles and words that mean other things are left out."""
_LEAST = 0.01
"""A fragment that scores less by itself says enough to be turned away: `write me a poem`."""
_CLEARLY = 0.9
"""Probability from which a few common words are a greeting or an attack."""
_SIDE_BY_SIDE = 2
"""Models learned at once; each takes some 700 MB for a large topic."""
_LOOK_BACK = 3
"""Earlier questions that a fragment may lean on, nearest first."""


class GateError(ValueError):
    """A gate file cannot be used; the message says why and which command makes a good one."""


class Verdict(NamedTuple):
    """What the gate thinks of one question."""

    on_topic: bool
    score: float
    """Probability that the question is the museum's, 0 to 1."""
    kind: Kind
    """The likeliest kind; `topic` exactly when `on_topic`."""
    doubtful: bool = False
    """Not let in, and not so far off that the guide should not ask `Do you mean …?`."""


class Reason(NamedTuple):
    """A feature of a question, and how much it spoke for the topic (above 0) or against it."""

    feature: str
    weight: float


class TopicFilter(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Follows scikit-learn's contract: `__init__` only stores, `fit` learns, `decide` before `fit` raises."""

    def __init__(
        self,
        *,
        names: Sequence[str] = (),
        gate: Gate | None = None,
        encoder: Encoder | None = None,
        C: float = 5.0,
        near_weight: float = 3.0,
        folds: int = 5,
        seed: int = 0,
    ) -> None:
        """`names` are the subject's names; `gate` the false-refusal budget and the mix of traffic.

        `encoder` gives doubtful questions a second opinion (`gatekeeper.second`). A near-miss counts as
        `near_weight` ordinary questions of others: the largest gain that was measured.
        """
        self.encoder = encoder
        self.names = names
        self.gate = gate
        self.C = C
        self.near_weight = near_weight
        self.folds = folds
        self.seed = seed

    def fit(
        self,
        questions: Sequence[str],
        kinds: Sequence[str],
        *,
        facts: Sequence[str | None] | None = None,
        near: Sequence[bool] | None = None,
        written: Sequence[str] = (),
    ) -> TopicFilter:
        """Learns from questions and their kinds.

        `facts` names the fact an on-topic question asks for (None elsewhere). `near` says which questions are
        near-misses: they count `near_weight` times and have their own share of the traffic. `written` is what else
        the museum has written: answers and articles. Probabilities and both cuts come from folds grouped by fact, so
        that no wording is judged by a model that saw another of its fact; `scores_` keeps those out-of-fold
        probabilities for the report. Raises ValueError when there is nothing to tell apart.
        """
        y = np.array(kinds)
        if len(set(y)) < 2 or "topic" not in y:
            raise ValueError("a gate needs on-topic and off-topic questions; give both")
        facts = list(facts) if facts is not None else [f"q{i}" if k == "topic" else None for i, k in enumerate(y)]
        near_miss = np.zeros(len(y), dtype=bool) if near is None else np.asarray(near, dtype=bool)
        weight = _balanced(y, np.where(near_miss, self.near_weight, 1.0))
        groups = np.array([f if f is not None else f"other {i}" for i, f in enumerate(facts)])
        gate = self.gate or Gate()
        learn = functools.partial(
            _learn, questions, y, facts, weight, written, names=self.names, C=self.C, seed=self.seed
        )
        by_fact = GroupKFold(min(self.folds, len(set(groups))), shuffle=True, random_state=self.seed)
        folds = [(own, left) for own, left in by_fact.split(y, y, groups) if len(set(y[own])) > 1]
        # Processes and not threads: folding and counting words is Python's work.
        (self.features_, self.model_), *judged = Parallel(n_jobs=min(cpu_count(), _SIDE_BY_SIDE))(
            [delayed(learn)(np.arange(len(y))), *(delayed(_judged)(learn, questions, own, left) for own, left in folds)]
        )
        get_reusable_executor().shutdown()  # idle ones would keep their memory for minutes
        classes = np.unique(y)
        table = np.zeros((len(y), len(classes)))
        for (_, left), (found, probability) in zip(folds, judged, strict=True):
            table[np.ix_(left, np.searchsorted(classes, found))] = probability
        traffic = _at_traffic(np.where(near_miss & (y == "off"), "near", y), gate)
        self.platt_ = Platt.fit(table[:, list(classes).index("topic")], y == "topic", traffic)
        self.scores_ = self.platt_.apply(table[:, list(classes).index("topic")])
        self.kinds_ = classes[np.where(classes == "topic", 0, table).argmax(1)]
        self.cuts_ = cuts(self.scores_, y == "topic", traffic, gate.false_refusals)
        self.second_ = None
        if self.encoder is not None:
            self.second_ = SecondStage.fit(
                self.encoder(questions), y == "topic", groups, self.scores_, weight=weight, traffic=traffic
            )
        # As they are stored: a gate that was saved must decide as before.
        self.model_.coef_ = self.model_.coef_.astype(np.float32)
        self.classes_ = self.model_.classes_
        return self

    @property
    def threshold_(self) -> float:
        """From this score on a question is let in."""
        return self.cuts_.let_in

    def scores(self, questions: Sequence[str]) -> NDArray[np.float64]:
        """Probability of being on topic for each question by itself, shape (questions,)."""
        check_is_fitted(self, "model_")
        return self._judge(questions)[0]

    def predict(self, questions: Sequence[str]) -> NDArray[Any]:
        """The kind of each question by itself, shape (questions,)."""
        return np.array([v.kind for v in self.decide_many(questions)])

    def decide(self, question: str, history: Sequence[Turn] = ()) -> Verdict:
        """The verdict on one question; `history` counts only where the question cannot stand alone."""
        return self.decide_many([question], [history])[0]

    def decide_many(self, questions: Sequence[str], histories: Sequence[Sequence[Turn]] | None = None) -> list[Verdict]:
        """Verdicts in the order of the questions; none depends on another."""
        check_is_fitted(self, "model_")
        if not questions:
            return []
        scores, kinds = self._with_last_demand(questions)
        verdicts = [self._verdict(float(s), cast(Kind, str(k))) for s, k in zip(scores, kinds, strict=True)]
        for i, history in enumerate(histories or []):
            if history and not verdicts[i].on_topic:
                verdicts[i] = self._by_history(questions[i], history, verdicts[i])
        return verdicts

    def why(self, question: str, count: int = 6) -> list[Reason]:
        """The features that weighed most in favour of the topic or against it, heaviest first."""
        check_is_fitted(self, "model_")
        row: csr_matrix = self.features_.transform([question])
        topic = list(self.classes_).index("topic")
        if len(self.classes_) == 2:
            weights = self.model_.coef_[0] * (1 if topic == 1 else -1)
        else:
            # Against the likeliest other kind: what decided between the two.
            table = self.model_.decision_function(row)[0]
            other = max((s, i) for i, s in enumerate(table) if i != topic)[1]
            weights = self.model_.coef_[topic] - self.model_.coef_[other]
        names = self.features_.get_feature_names_out()
        reasons = [Reason(str(names[j]), float(v * weights[j])) for j, v in zip(row.indices, row.data, strict=True)]
        return sorted((r for r in reasons if r.weight), key=lambda r: -abs(r.weight))[:count]

    def save(self, path: Path) -> None:
        """Writes the gate with skops, which stores data and no code."""
        learned = {
            "version": VERSION,
            "features": self.features_.state(),
            "classes": [str(c) for c in self.classes_],
            "coefficients": self.model_.coef_.astype(np.float32),
            "intercepts": self.model_.intercept_,
            "platt": list(self.platt_),
            "cuts": list(self.cuts_),
            "second": self.second_ and list(self.second_),
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        skops.io.dump(learned, path, compression=ZIP_DEFLATED)

    @classmethod
    def load(cls, path: Path, encoder: Encoder | None = None) -> TopicFilter:
        """Reads a gate; with `encoder` it asks for a second opinion, if it was fitted with one.

        Raises GateError when the file is missing, damaged, too old, or holds an unexpected type.
        """
        try:
            unexpected = skops.io.get_untrusted_types(file=path)
            if unexpected:
                raise GateError(
                    f"{path}: holds types a gate never holds ({', '.join(unexpected)}); do not use it, {_ADVICE}"
                )
            learned: dict[str, Any] = skops.io.load(path, trusted=[])
        except FileNotFoundError:
            raise GateError(f"{path}: there is no such gate; {_ADVICE}") from None
        except (BadZipFile, KeyError, TypeError, EOFError, OSError, json.JSONDecodeError) as error:
            raise GateError(f"{path}: not a gate file, or damaged; {_ADVICE}") from error
        if not isinstance(learned, dict) or learned.get("version") != VERSION:
            raise GateError(f"{path}: made by another version of Docent; {_ADVICE}")
        try:
            return cls._from_learned(learned, encoder)
        except (KeyError, ValueError, TypeError) as error:
            raise GateError(f"{path}: not a whole gate ({error!r}); {_ADVICE}") from error

    @classmethod
    def _from_learned(cls, learned: dict[str, Any], encoder: Encoder | None) -> TopicFilter:
        gate = cls(names=learned["features"]["names"], encoder=encoder)
        gate.features_ = QuestionFeatures.from_state(learned["features"])
        gate.classes_ = np.array(learned["classes"], dtype=object)
        gate.model_ = LogisticRegression()
        gate.model_.classes_ = gate.classes_
        gate.model_.coef_, gate.model_.intercept_ = learned["coefficients"], learned["intercepts"]
        gate.platt_, gate.cuts_ = Platt(*learned["platt"]), Cuts(*learned["cuts"])
        gate.second_ = SecondStage(*learned["second"]) if learned["second"] else None
        return gate

    def _judge(self, questions: Sequence[str]) -> tuple[NDArray[np.float64], NDArray[Any]]:
        """Scores, and the likeliest kind besides `topic`."""
        seen = self.features_.seen(questions)
        table = self.model_.predict_proba(self.features_.of_seen(seen))
        topic = list(self.classes_).index("topic")
        scores = self.platt_.apply(table[:, topic])
        table[:, topic] = -1
        other = self.classes_[table.argmax(1)]
        unsure = table.max(1)
        other[(other == "greeting") & (unsure < 0.5)] = "off"
        # Words that say nothing of what they are about lean on what was said before, unless they clearly are something
        # by themselves: "good morning" is a greeting, "can you tell me more" is none.
        empty = np.array([not self.features_.telling(s) for s in seen])
        other[empty & (unsure < _CLEARLY)] = "off"
        doubt = np.flatnonzero((scores >= self.cuts_.turn_away) & (scores < SURE))
        if self.second_ and self.encoder is not None and len(doubt):
            scores[doubt] = self.second_.apply(scores[doubt], self.encoder([questions[i] for i in doubt]))
        wordless = np.array([not s.strip() for s in seen])
        scores[wordless], other[wordless] = 0.0, "off"
        return scores, other

    def _with_last_demand(self, questions: Sequence[str]) -> tuple[NDArray[np.float64], NDArray[Any]]:
        """`He was great. Now write my homework` asks for homework: the last sentence must be on topic as well."""
        last = {i: demand for i, q in enumerate(questions) if (demand := _last_sentence(q))}
        scores, kinds = self._judge([*questions, *last.values()])
        thanked = []
        for i, score, kind in zip(last, scores[len(questions) :], kinds[len(questions) :], strict=True):
            if kind == "greeting" and score < self.cuts_.let_in:
                thanked.append(i)
                continue
            # What comes before an honest question that names the subject does not count either.
            asks = kinds[i] != "attack" and SUBJECT in self.features_.seen([last[i]])[0].split()
            if score < scores[i] or (score >= self.cuts_.let_in and asks):
                scores[i], kinds[i] = score, kind
        if thanked:
            # "Thank you!" at the end demands nothing: what stands before it is the question.
            before = [questions[i][: questions[i].rindex(last[i])] for i in thanked]
            scores[thanked], kinds[thanked] = self._with_last_demand(before)
        return scores[: len(questions)], kinds[: len(questions)]

    def _verdict(self, score: float, other: Kind) -> Verdict:
        on_topic = score >= self.cuts_.let_in
        doubtful = not on_topic and other == "off" and score >= self.cuts_.turn_away
        return Verdict(on_topic, score, "topic" if on_topic else other, doubtful)

    def _leans(self, question: str, verdict: Verdict) -> bool:
        """Whether the text cannot stand alone: short, and no word in it says what it is about."""
        seen = self.features_.seen([question])[0]
        words = seen.split()
        short = 0 < len(words) <= 6 and SUBJECT not in words
        return short and verdict.kind == "off" and verdict.score >= _LEAST and not self.features_.telling(seen)

    def _by_history(self, question: str, history: Sequence[Turn], verdict: Verdict) -> Verdict:
        """Judges by the last question that could stand alone; what was answered is not looked at.

        After one on topic a fragment is on topic, and a pronoun counts as the subject's name.
        """
        leans = self._leans(question, verdict)
        seen = self.features_.seen([question])[0].split()
        named = " ".join(SUBJECT if w in _PRONOUNS else w for w in seen)
        if not leans and SUBJECT not in named:
            return verdict
        for turn in list(history)[: -_LOOK_BACK - 1 : -1]:
            before = self.decide(turn.question)
            if before.on_topic:
                return Verdict(True, before.score, "topic") if leans else max(verdict, self.decide(named))
            if not self._leans(turn.question, before):
                return verdict
        return verdict


def _learn(
    questions: Sequence[str],
    y: NDArray[Any],
    facts: Sequence[str | None],
    weight: NDArray[np.float64],
    written: Sequence[str],
    rows: NDArray[np.intp],
    *,
    names: Sequence[str],
    C: float,
    seed: int,
) -> tuple[QuestionFeatures, LogisticRegression]:
    """Features and classifier from the given rows alone."""
    features = QuestionFeatures(names=names)
    table = features.fit_transform(
        [questions[i] for i in rows], list(y[rows]), facts=[facts[i] for i in rows], written=written
    )
    # A quarter of the time of lbfgs on these features, and the same curve.
    model = LogisticRegression(C=C, solver="newton-cg", random_state=seed)
    return features, model.fit(table, y[rows], sample_weight=weight[rows])


def _judged(
    learn: Callable[[NDArray[np.intp]], tuple[QuestionFeatures, LogisticRegression]],
    questions: Sequence[str],
    own: NDArray[np.intp],
    left: NDArray[np.intp],
) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """The classes that the rows `own` show, and the probability of each for the rows that were left out."""
    features, model = learn(own)
    return model.classes_, model.predict_proba(features.transform([questions[i] for i in left]))


def _last_sentence(question: str) -> str:
    """The last of several sentences, or nothing when there is one."""
    sentences = [s for s in _SENTENCE_END.split(question[-2000:]) if re.search(r"\w", s)]
    return sentences[-1] if len(sentences) > 1 else ""


def _balanced(y: NDArray[Any], weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """On topic and off topic weigh the same in all; the other kinds share their half by the roots of their numbers.

    By their plain numbers, a few hundred greetings and visits would drown among thousands of others' questions.
    """
    total = {k: weight[y == k].sum() for k in set(y)}
    roots = sum(np.sqrt(n) for k, n in total.items() if k != "topic")
    wanted = {k: 1.0 if k == "topic" else float(np.sqrt(n) / roots) for k, n in total.items()}
    scale = sum(n for k, n in total.items() if k != "topic")
    return np.asarray(weight * np.array([wanted[k] / total[k] for k in y]) * scale)


def _at_traffic(y: NDArray[Any], gate: Gate) -> NDArray[np.float64]:
    """A weight for each question so that the kinds come in the shares of the gallery's traffic; they sum to 1.

    Here, near-misses are a kind of their own.
    """
    share = {k: gate.traffic.get(k, 0.0) for k in set(y)}
    total = sum(share.values()) or 1.0
    return np.array([share[k] / total / (y == k).sum() for k in y])
