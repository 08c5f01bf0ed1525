"""Batches and splits: what the model is shown, and what it must not have seen."""

import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.conftest import MINI
from topics.questions import Row, Wording
from topics.topic import Topic
from training.config import Data, Recipe, load_recipe
from training.dataset import Examples, Padded, split
from training.finetune import answer_loss, finetune
from training.model import adapt, backbone_and_head, load_base, load_for, load_tokenizer
from training.progress import read_progress


def test_logits_for_the_answers_alone_give_the_loss_of_all(lighthouse: Topic) -> None:
    tokenizer, model = load_tokenizer(MINI), load_base(MINI, torch.float32).eval()
    asked = split(lighthouse, lighthouse.rows(), Data(), seed=1).train[:8]
    examples = list(Examples(lighthouse, tokenizer, asked, Data(), augment=False))
    batch = Padded(tokenizer.pad_token_id)(examples)
    assert batch["labels"].shape[1] == batch["logits_to_keep"] < batch["input_ids"].shape[1]
    assert batch["input_ids"].shape[1] % Padded.multiple == 0
    with torch.no_grad():
        together = float(model(**batch).loss)
        total = tokens = 0.0
        for example in examples:
            count = sum(label != -100 for label in example["labels"])
            ids, labels = torch.tensor([example["input_ids"]]), torch.tensor([example["labels"]])
            total += float(model(input_ids=ids, labels=labels).loss) * count
            tokens += count
    assert abs(together - total / tokens) < 1e-4


@pytest.mark.parametrize("name", ["llama", "falcon", "opt"])
def test_the_loss_of_answers_is_the_models_own(tiny: Callable[[str], str], name: str) -> None:
    recipe = load_recipe("museum_mini")
    lora = recipe.lora.model_copy(update={"r": 4, "dropout": 0.0})
    model = adapt(load_for(recipe, tiny(name), device="cpu"), recipe.model_copy(update={"lora": lora})).eval()
    ids = torch.randint(4, 600, (5, 30), generator=torch.Generator().manual_seed(1))
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids.masked_fill(ids % 3 == 0, -100)}
    tokens = (batch["labels"][:, 1:] != -100).sum()
    parts = backbone_and_head(model)
    assert parts
    own = model(**batch, num_items_in_batch=tokens).loss
    ours = answer_loss(*parts, batch, tokens, contextlib.nullcontext())
    learned = [p for p in model.parameters() if p.requires_grad]
    assert ours.item() == pytest.approx(own.item(), rel=1e-5)
    for a, b in zip(torch.autograd.grad(own, learned), torch.autograd.grad(ours, learned), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


@pytest.mark.timeout(300)
def test_a_batch_in_parts_is_the_same_step(lighthouse: Topic, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(MINI)
    asked = split(lighthouse, lighthouse.rows(), Data(), seed=1).train[:32]
    examples = Examples(lighthouse, tokenizer, asked, Data(), augment=False)

    def losses(tokens_at_once: int) -> list[float]:
        recipe = _two_steps(tokens_at_once)
        torch.manual_seed(1)
        model = adapt(load_for(recipe, MINI, device="cpu"), recipe)
        run = tmp_path / str(tokens_at_once)
        finetune(model, examples, examples, recipe, run, collate=Padded(tokenizer.pad_token_id), epochs=1, device="cpu")
        return [p["loss"] for p in read_progress(run / "progress.jsonl") if "loss" in p]

    whole, parts = losses(0), losses(300)
    assert len(whole) == 2 and parts == pytest.approx(whole, abs=1e-3)


def _two_steps(tokens_at_once: int) -> Recipe:
    recipe = load_recipe("museum_mini")
    changes = {"batch_size": 16, "max_steps": 2, "precision": "fp32", "tokens_at_once": tokens_at_once}
    return recipe.model_copy(update={"train": recipe.train.model_copy(update=changes)})


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
