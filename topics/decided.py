"""What the museum decided to say beforehand: to a visitor in need, to loaded questions, to questions about the visit.

A linear support vector machine tells the policies' examples from one another, from the museum's own wordings and from
others' questions (Joachims 1998); a question about the visit is answered by its nearest example's subject.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from pydantic import BaseModel, ConfigDict
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.svm import LinearSVC

from topics.ngrams import Ngrams, pack, unpack
from topics.policy import Policy, read_policies
from topics.questions import OffTopic, Row, read_off_topic
from topics.topic import HERE, Topic

NEAR = -0.2
"""Distance from a policy's boundary from which on it is meant (docs/decisions/0013-decided-answers.md)."""
_WEIGHT = 4.0
"""How many other questions an example counts for: there are ten times as many of those."""
_FILE, _LEARNED = "decided.json", "decided.npz"


class _Stored(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    policies: tuple[Policy, ...]
    visits: tuple[OffTopic, ...]


class Recogniser:
    """Which policy a text calls for: one linear boundary for each policy."""

    def __init__(self, ngrams: Ngrams, names: list[str], weights: Any, bias: Any) -> None:
        """`weights` (features, policies) and `bias` (policies,) as `fit` learns them."""
        self.ngrams, self.names = ngrams, names
        self.weights, self.bias = sparse.csr_array(weights), np.asarray(bias)

    @classmethod
    def fit(cls, texts: Sequence[str], names: Sequence[str]) -> Recogniser:
        """Learns from comparable texts; an empty name is no policy's. Needs two different names."""
        ngrams = Ngrams().fit(texts)
        weight = [_WEIGHT if n else 1.0 for n in names]
        model = LinearSVC(C=1.0).fit(ngrams.together(texts), names, sample_weight=weight)
        weights, bias, classes = model.coef_, model.intercept_, [str(c) for c in model.classes_]
        if len(classes) == 2:  # one boundary, seen from the second class
            weights, bias = np.vstack([-weights, weights]), np.concatenate([-bias, bias])
        mine = [i for i, c in enumerate(classes) if c]
        weights = np.where(np.abs(weights[mine]) < 0.01, 0.0, weights[mine]).T.astype(np.float32)
        return cls(ngrams, [classes[i] for i in mine], weights, bias[mine])

    def best(self, text: str) -> tuple[str, float]:
        """The policy whose boundary the text is furthest beyond, and how far."""
        scores = (self.ngrams.together([text]) @ self.weights).toarray()[0] + self.bias
        return self.names[int(scores.argmax())], float(scores.max())

    def save(self, path: Path) -> None:
        """Writes plain arrays."""
        learned = {"names": np.array(self.names), "bias": self.bias}
        np.savez_compressed(
            path, allow_pickle=False, **learned, **self.ngrams.arrays(), **pack("weights", self.weights)
        )

    @classmethod
    def load(cls, path: Path) -> Recogniser:
        """Raises OSError, KeyError or ValueError when the file is missing or damaged."""
        with np.load(path, allow_pickle=False) as file:
            stored = dict(file)
        names = [str(n) for n in stored["names"]]
        return cls(Ngrams.from_arrays(stored), names, unpack("weights", stored), stored["bias"])


class Decided:
    """Finds the decided answer to a question, if there is one."""

    def __init__(
        self,
        topic: Topic,
        policies: Sequence[Policy],
        visits: Sequence[OffTopic],
        recogniser: Recogniser | None = None,
    ) -> None:
        """`visits` are questions about a visit, `about` saying which part of it; without `recogniser` examples count
        word for word."""
        self.topic = topic
        self.policies, self.visits = list(policies), list(visits)
        self._recogniser = recogniser
        self._by_id = {p.id: p for p in policies}
        self._exact = {self._seen(e): p for p in policies for e in p.examples}
        asked = [self._seen(v.question) for v in visits]
        self._vectors = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True, dtype=np.float32)
        self._visits = self._vectors.fit_transform(asked).T.tocsr() if asked else None

    @classmethod
    def of_topic(cls, topic: Topic, rows: Sequence[Row] = ()) -> Decided:
        """From the topic's `policy.jsonl`, the shared `help.jsonl` and the shared questions of others.

        `rows` are the museum's facts. A topic's own policy replaces the shared one of its id. Raises QuestionsError
        for a broken line.
        """
        policies, faults = read_policies(topic.folder / "policy.jsonl", topic.languages)
        shared, more_faults = read_policies(HERE / "help.jsonl")
        if faults or more_faults:
            raise [*faults, *more_faults][0]
        own = {p.id for p in policies}
        policies = [*policies, *(p for p in shared if p.id not in own)]
        asked = read_off_topic(HERE / "off_topic.jsonl", topic.folder / "near_misses.jsonl")
        made = cls(topic, policies, [o for o in asked if o.kind == "visit"])
        others = [w for r in rows if not r.held for w in r.wordings()] + [o.question for o in asked]
        known = {text: p.id for text, p in made._exact.items()}
        texts = [*known, *(t for o in others if (t := made._seen(o)) not in known)]
        made._recogniser = Recogniser.fit(texts, [known.get(t, "") for t in texts]) if len(texts) > len(known) else None
        return made

    def match(self, question: str, *, word_for_word: bool = False) -> Policy | None:
        """The policy that a question calls for, if one does; `word_for_word` when it is one of the examples."""
        seen = self._seen(question)
        if exact := self._exact.get(seen):
            return exact
        if word_for_word or self._recogniser is None or not seen:
            return None
        name, far = self._recogniser.best(seen)
        return self._by_id.get(name) if far >= NEAR else None

    def visit(self, question: str, language: str) -> str:
        """What to say to a question about the visit, such as the opening hours."""
        about = "other"
        if self._visits is not None:
            scores = (self._vectors.transform([self._seen(question)]) @ self._visits).toarray()[0]
            about = self.visits[int(scores.argmax())].about or about
        return self.topic.visit_text(about, language)

    def save(self, folder: Path) -> None:
        """Writes `decided.json` and what was learned, `decided.npz`, into a release."""
        stored = _Stored(policies=tuple(self.policies), visits=tuple(self.visits))
        (folder / _FILE).write_text(stored.model_dump_json(indent=1), encoding="utf-8")
        if self._recogniser is not None:
            self._recogniser.save(folder / _LEARNED)

    @classmethod
    def load(cls, topic: Topic, folder: Path) -> Decided:
        """The decided answers of a release. Raises OSError or ValueError when a file is missing or damaged."""
        stored = _Stored.model_validate(json.loads((folder / _FILE).read_text(encoding="utf-8")))
        try:
            return cls(topic, stored.policies, stored.visits, Recogniser.load(folder / _LEARNED))
        except (KeyError, IndexError, ValueError, EOFError, BadZipFile) as error:
            raise ValueError(f"{folder / _LEARNED}: not what was learned ({error!r})") from error

    def _seen(self, text: str) -> str:
        return self.topic.match_text(text)
