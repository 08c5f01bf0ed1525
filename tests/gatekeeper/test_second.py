"""The second opinion: asked in doubt alone, and absent without a model."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from gatekeeper import TopicFilter
from gatekeeper.fitting import examples, fit_gate
from gatekeeper.second import SURE, load_encoder
from tests.conftest import MINI
from topics.topic import Topic


class Counting:
    """An encoder that knows one thing, and counts what it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, questions: Sequence[str]) -> NDArray[np.float32]:
        self.asked += questions
        return np.array([[1.0, 0.0] if "light" in q.lower() else [0.0, 1.0] for q in questions], dtype=np.float32)


@pytest.fixture(scope="module")
def fitted(lighthouse: Topic) -> TopicFilter:
    return fit_gate(lighthouse, encoder=Counting())


def test_without_a_model_nothing_changes(
    lighthouse: Topic, fitted: TopicFilter, gate_of_lighthouse: TopicFilter, tmp_path: Path
) -> None:
    fitted.save(tmp_path / "gate.skops")
    without = TopicFilter.load(tmp_path / "gate.skops")
    questions = [e.question for e in examples(lighthouse)][:200]
    assert without.decide_many(questions) == gate_of_lighthouse.decide_many(questions)


def test_only_doubtful_questions_are_looked_at_twice(lighthouse: Topic, fitted: TopicFilter, tmp_path: Path) -> None:
    fitted.save(tmp_path / "gate.skops")
    encoder = Counting()
    gate = TopicFilter.load(tmp_path / "gate.skops", encoder)
    questions = [e.question for e in examples(lighthouse)][:200]
    first = TopicFilter.load(tmp_path / "gate.skops").scores(questions)
    second = gate.scores(questions)
    doubtful = {q for q, s in zip(questions, first, strict=True) if gate.cuts_.turn_away <= s < SURE}
    assert set(encoder.asked) == doubtful
    assert all(a == b for q, a, b in zip(questions, first, second, strict=True) if q not in doubtful)


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"modules\.json"):
        load_encoder(tmp_path)


def test_a_real_model_gives_vectors_of_length_one(tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import AutoTokenizer, BertConfig, BertModel

    tokenizer = AutoTokenizer.from_pretrained(MINI)
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
    )
    BertModel(config).save_pretrained(tmp_path / "bert")
    tokenizer.save_pretrained(tmp_path / "bert")
    transformer = Transformer(str(tmp_path / "bert"), max_seq_length=32)
    pooling = Pooling(transformer.get_embedding_dimension())
    SentenceTransformer(modules=[transformer, pooling], device="cpu").save(str(tmp_path / "encoder"))
    vectors = load_encoder(tmp_path / "encoder")(["Who?", "Where was the tower built?"])
    assert vectors.shape == (2, 16)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
