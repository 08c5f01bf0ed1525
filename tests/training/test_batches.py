"""Batches and splits: what the model is shown, and what it must not have seen."""

import torch

from tests.conftest import MINI
from topics.questions import Row, Wording
from topics.topic import Topic
from training.config import Data
from training.dataset import Examples, Padded, split
from training.model import load_base, load_tokenizer


def test_logits_for_the_answers_alone_give_the_loss_of_all(lighthouse: Topic) -> None:
    tokenizer, model = load_tokenizer(MINI), load_base(MINI, torch.float32).eval()
    asked = split(lighthouse, lighthouse.rows(), Data(), seed=1).train[:8]
    examples = list(Examples(lighthouse, tokenizer, asked, Data(), augment=False))
    batch = Padded(tokenizer.pad_token_id)(examples)
    assert batch["labels"].shape[1] == batch["logits_to_keep"] < batch["input_ids"].shape[1]
    with torch.no_grad():
        together = float(model(**batch).loss)
        total = tokens = 0.0
        for example in examples:
            count = sum(label != -100 for label in example["labels"])
            ids, labels = torch.tensor([example["input_ids"]]), torch.tensor([example["labels"]])
            total += float(model(input_ids=ids, labels=labels).loss) * count
            tokens += count
    assert abs(together - total / tokens) < 1e-4


def test_a_held_out_wording_that_is_nearly_trained_measures_nothing(lighthouse: Topic) -> None:
    row = Row(
        id="cat",
        question="What was the cat of Gull Rock called?",
        answer="Biscuit.",
        paraphrases=(
            Wording(text="what was the cat of gull rock called", register="typo", held=True),
            Wording(text="Gull Rock's cat, what was it called?", register="plain", held=True),
            Wording(text="Which name did the mouser answer to?", register="plain", held=True),
        ),
    )
    sets = split(lighthouse, [row], Data(), seed=1)
    assert [a.question for a in sets.reworded if a.row == row][-1] == "Which name did the mouser answer to?"
    assert "what was the cat of gull rock called" not in [a.question for a in sets.reworded]
