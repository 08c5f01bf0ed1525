"""What the museum decided to say beforehand: to a visitor in need, to loaded questions, to questions about the visit.

The nearest example decides (character n-grams, so that typos and languages do not matter); a wording of the museum's
own facts that is nearer still wins over it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict
from sklearn.feature_extraction.text import TfidfVectorizer

from topics.policy import Policy, read_policies
from topics.questions import OffTopic, Row, read_off_topic
from topics.topic import HERE, Topic

NEAR = 0.6
"""Cosine similarity from which an example counts: below it, others' questions are often taken for one."""
_FILE = "decided.json"


class _Stored(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    policies: tuple[Policy, ...]
    visits: tuple[OffTopic, ...]


class Decided:
    """Finds the decided answer to a question, if there is one."""

    def __init__(
        self, topic: Topic, policies: Sequence[Policy], visits: Sequence[OffTopic], rows: Sequence[Row] = ()
    ) -> None:
        """`visits` are questions about a visit, `about` saying which part of it; `rows` the museum's facts."""
        self.topic = topic
        self.policies, self.visits = list(policies), list(visits)
        self._owners: list[Policy | None] = [p for p in policies for _ in p.examples]
        mine = [w for r in rows if not r.held for w in r.wordings()]
        self._owners += [None] * len(mine)
        texts = [topic.match_text(t) for t in (*(e for p in policies for e in p.examples), *mine)]
        asked = [topic.match_text(v.question) for v in visits]
        self._vectors = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True, dtype=np.float32)
        if texts or asked:
            self._vectors.fit([*texts, *asked])
        self._examples = self._vectors.transform(texts).T.tocsr() if texts else None
        self._visits = self._vectors.transform(asked).T.tocsr() if asked else None

    @classmethod
    def of_topic(cls, topic: Topic, rows: Sequence[Row] = ()) -> Decided:
        """From the topic's `policy.jsonl`, the shared `help.jsonl` and the shared visit questions.

        A topic's own row replaces the shared one of its id. Raises QuestionsError for a broken line.
        """
        policies, faults = read_policies(topic.folder / "policy.jsonl", topic.languages)
        shared, more_faults = read_policies(HERE / "help.jsonl")
        if faults or more_faults:
            raise [*faults, *more_faults][0]
        own = {p.id for p in policies}
        policies = [*policies, *(p for p in shared if p.id not in own)]
        asked = read_off_topic(HERE / "off_topic.jsonl", topic.folder / "near_misses.jsonl")
        return cls(topic, policies, [o for o in asked if o.kind == "visit"], rows)

    def match(self, question: str) -> Policy | None:
        """The policy whose example is nearest, if it is near enough and nearer than any wording of a fact."""
        if self._examples is None or not self.policies:
            return None
        scores = (self._vectors.transform([self.topic.match_text(question)]) @ self._examples).toarray()[0]
        best = int(scores.argmax())
        return self._owners[best] if scores[best] >= NEAR else None

    def visit(self, question: str, language: str) -> str:
        """What to say to a question about the visit, such as the opening hours."""
        about = "other"
        if self._visits is not None:
            scores = (self._vectors.transform([self.topic.match_text(question)]) @ self._visits).toarray()[0]
            about = self.visits[int(scores.argmax())].about or about
        return self.topic.visit_text(about, language)

    def save(self, folder: Path) -> None:
        """Writes `decided.json` into a release."""
        stored = _Stored(policies=tuple(self.policies), visits=tuple(self.visits))
        (folder / _FILE).write_text(stored.model_dump_json(indent=1), encoding="utf-8")

    @classmethod
    def load(cls, topic: Topic, folder: Path, rows: Sequence[Row]) -> Decided:
        """The decided answers of a release. Raises OSError or ValueError when the file is missing or damaged."""
        stored = _Stored.model_validate(json.loads((folder / _FILE).read_text(encoding="utf-8")))
        return cls(topic, stored.policies, stored.visits, rows)
