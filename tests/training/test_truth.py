"""What the truth report is made of."""

from typing import Any

import pytest

from tests.conftest import MINI
from topics.topic import Topic
from training import generate
from training.dataset import Asked
from training.model import load_tokenizer


def test_a_model_is_shown_the_notes_of_its_question_and_no_others(
    lighthouse: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[int]] = []

    def nothing(model: Any, tokenizer: Any, prompts: list[list[int]], max_tokens: int) -> list[list[int]]:
        seen.extend(prompts)
        return [[] for _ in prompts]

    monkeypatch.setattr(generate, "greedy_ids", nothing)
    tokenizer = load_tokenizer(MINI)
    asked = Asked("How high is it?", None, "", "en")
    noted = asked._replace(evidence=("The tower is 38 metres high.",))
    generate.answers(None, tokenizer, lighthouse, [asked, noted])
    plain, with_note = (tokenizer.decode(ids) for ids in seen)
    assert "38 metres" not in plain and "The tower is 38 metres high." in with_note
