"""A study, step by step: read, encode, measure, train, save, reload, merge, report. Ends in a run folder."""

from __future__ import annotations

import json
import logging
import math
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from sklearn.metrics import accuracy_score, f1_score
from transformers import DataCollatorForSeq2Seq, DataCollatorWithPadding
from trl import pack_dataset
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from topics.page import heading, table, write_page
from training import model as models
from training import plots
from training.config import LORA_KINDS, QUANTISED, UNMERGEABLE, Recipe
from training.corpus import Corpus, Encoded, encode, prompt_ids, read_corpus
from training.errors import BaseError, RecipeError
from training.figures import Recited, bleu_and_chrf, repetition, words
from training.finetune import finetune, for_machine, processes_for
from training.learning import stops, verdict
from training.progress import read_progress
from training.run import RunFolder

log = logging.getLogger(__name__)
_SHOWN = 30
"""Most test rows that are answered freely, by base and tuned model alike."""
_LONGEST = 32
"""Tokens of such an answer; what was wanted is compared as far."""
_BATCH = 8


def study(recipe: Recipe, base: str, out: Path, *, device: str = "auto", resume: bool = False) -> dict[str, Any]:
    """One run of a recipe with data of its own: `adapter/` or `weights/`, `progress.jsonl`, `eval.json`, `report.html`.

    With `resume` it goes on from the last whole checkpoint in `out`; without, what stood there is replaced. Under
    `accelerate launch` the processes share each batch, and the first one alone measures and writes.
    """
    began = time.monotonic()
    recipe = for_machine(recipe, device)
    processes = processes_for(device)
    folder = RunFolder(out)
    if resume and folder.result.is_file():
        log.info("%s: this run is complete", out)
        return dict(json.loads(folder.result.read_text(encoding="utf-8")))
    corpus = read_corpus(recipe.data, seed=recipe.train.seed)
    tokenizer = _tokenizer(recipe, base)
    train, validation, test = (
        encode(rows, tokenizer, recipe, corpus.labels) for rows in (corpus.train, corpus.validation, corpus.test)
    )
    if processes.is_main_process:
        _prepare(folder, recipe, resume=resume)
    processes.wait_for_everyone()

    torch.manual_seed(recipe.train.seed)
    model = models.load_for(recipe, base, device=device, labels=len(corpus.labels) or None)
    measure = _Measure(recipe, tokenizer, corpus, test, processes.device)
    scores = {"base": measure(model)}
    learned: dict[str, Any] = {}
    saved: dict[str, Any] = {}
    if recipe.method != "none":
        torch.manual_seed(recipe.train.seed)
        model = models.adapt(model, recipe)
        examples, collate = _batches(model, recipe, tokenizer, train)
        learned = finetune(
            model,
            examples,
            validation.examples,
            recipe,
            out,
            collate=collate,
            epochs=recipe.train.epochs,
            device=device,
            resume=resume,
        )
    if not processes.is_main_process:
        return {}
    if recipe.method != "none":
        scores["tuned"] = measure(model)
        saved = _save(model, recipe, base, folder, tokenizer, measure, device=device)
    result = {
        "recipe": recipe.name,
        "task": recipe.task,
        "method": recipe.method,
        "base": {"name": base, "revision": models.revision(base)},
        "data": {
            "rows": {"train": len(corpus.train), "validation": len(corpus.validation), "test": len(corpus.test)},
            "left_out": corpus.left_out,
            "cut": {"train": train.cut, "validation": validation.cut, "test": test.cut},
        },
        "labels": corpus.labels,
        "training": learned,
        **saved,
        "scores": scores,
        "seconds": round(time.monotonic() - began, 1),
    }
    _report(folder, recipe, result)
    _finish(folder, result)
    return result


def _finish(folder: RunFolder, result: dict[str, Any]) -> None:
    """Writes `eval.json`, whose presence means that the run is complete, and only then gives up the checkpoints."""
    draft = folder.result.with_suffix(".draft")
    draft.write_text(json.dumps(result, indent=1, ensure_ascii=False), encoding="utf-8")
    draft.rename(folder.result)
    shutil.rmtree(folder.path / "checkpoints", ignore_errors=True)


def _prepare(folder: RunFolder, recipe: Recipe, *, resume: bool) -> None:
    settings = folder.path / "recipe.json"
    if resume and settings.is_file():
        if Recipe.model_validate_json(settings.read_text(encoding="utf-8")) != recipe:
            raise RecipeError(
                f"{settings}: this run began with other settings, and going on would be neither run; "
                "begin anew without --resume, or give the recipe it began with"
            )
        return
    shutil.rmtree(folder.path, ignore_errors=True)
    folder.path.mkdir(parents=True)
    settings.write_text(recipe.model_dump_json(indent=1, exclude_unset=True), encoding="utf-8")


def _tokenizer(recipe: Recipe, base: str) -> Any:
    tokenizer = models.load_tokenizer(base, chat=False, ends=recipe.task != "classification")
    tokenizer.padding_side = "right"
    return tokenizer


def _batches(model: Any, recipe: Recipe, tokenizer: Any, train: Encoded) -> tuple[Any, Any]:
    collate = _collator(recipe, tokenizer, model)
    if not recipe.train.packing:
        return train.examples, collate
    import datasets

    columns = [{k: v for k, v in e.items() if k != "attention_mask"} for e in train.examples]
    packed = list(pack_dataset(datasets.Dataset.from_list(columns), recipe.data.max_length, "bfd"))
    flat = DataCollatorForLanguageModeling(tokenizer.pad_token_id, padding_free=True)
    _check_packing(model, collate(train.examples[:2]), flat(columns[:2]))
    log.info("packed %d examples into %d rows", len(columns), len(packed))

    def either(batch: Sequence[dict[str, Any]]) -> dict[str, Any]:
        return dict(flat(list(batch)) if "seq_lengths" in batch[0] else collate(list(batch)))

    return packed, either


def _check_packing(model: Any, padded: dict[str, Any], flat: dict[str, Any]) -> None:
    """Not every architecture keeps packed examples apart; one that lets them see each other gives another loss."""
    was_training = model.training
    model.eval()
    with torch.no_grad():
        apart, together = (
            float(model(**{k: v.to(model.device) if isinstance(v, torch.Tensor) else v for k, v in batch.items()}).loss)
            for batch in (padded, flat)
        )
    model.train(was_training)
    if abs(apart - together) > 0.01 * max(apart, 1.0):
        raise BaseError(
            f"{model.config.model_type}: packed examples see each other (loss {together:.4f} instead of {apart:.4f}); "
            "set train.packing = false for this base"
        )


def _collator(recipe: Recipe, tokenizer: Any, model: Any = None) -> Any:
    if recipe.task == "classification":
        return DataCollatorWithPadding(tokenizer)
    return DataCollatorForSeq2Seq(tokenizer, model=model if recipe.task == "seq2seq" else None)


class _Measure:
    """Scores on the test rows: loss, perplexity by language, what is said freely; or accuracy and F1."""

    def __init__(self, recipe: Recipe, tokenizer: Any, corpus: Corpus, test: Encoded, device: torch.device) -> None:
        self.recipe, self.tokenizer, self.corpus, self.test, self.device = recipe, tokenizer, corpus, test, device
        self.collate = _collator(recipe, tokenizer)
        self.recited = Recited(text for row in corpus.train for text in row.learned())

    def __call__(self, model: Any) -> dict[str, Any]:
        self._place(model).eval()
        if self.recipe.task == "classification":
            return self._classified(model)
        by_lang = {
            lang or "all": self.loss(
                model, [e for e, its in zip(self.test.examples, self.test.langs, strict=True) if its == lang]
            )
            for lang in sorted(set(self.test.langs))
        }
        loss = self.loss(model)
        examples = self._answers(model)
        said, wanted = [e["said"] for e in examples], [self._first(e["wanted"]) for e in examples]
        return {
            "loss": round(loss, 6),
            "perplexity": round(math.exp(min(loss, 50)), 3),
            "perplexity_by_lang": {lang: round(math.exp(min(n, 50)), 3) for lang, n in by_lang.items()},
            **bleu_and_chrf(said, wanted),
            "recited": round(self.recited.share(said), 4),
            "repetition": round(repetition(said), 4),
            "words": round(sum(map(words, said)) / len(said), 1),
            "words_wanted": round(sum(map(words, wanted)) / len(wanted), 1),
            "examples": examples,
        }

    def again(self, model: Any) -> dict[str, Any]:
        """What shows that a saved model is the one that was measured."""
        self._place(model).eval()
        return self._classified(model) if self.recipe.task == "classification" else {"loss": round(self.loss(model), 6)}

    def loss(self, model: Any, examples: Sequence[dict[str, Any]] | None = None) -> float:
        """Mean loss of a learned token on the test rows, each token counting once."""
        examples = self.test.examples if examples is None else examples
        self._place(model)
        total, tokens = 0.0, 0
        for batch in self._batched(examples):
            labels = batch["labels"][:, 1:] if self.recipe.task == "causal" else batch["labels"]
            count = int((labels != -100).sum())
            with torch.no_grad():
                total += float(model(**batch).loss) * count
            tokens += count
        return total / max(tokens, 1)

    def _place(self, model: Any) -> Any:
        # A quantised model lies where it was loaded and must not be moved.
        return model if getattr(model, "is_quantized", False) else model.to(self.device)

    def _batched(self, examples: Sequence[dict[str, Any]]) -> Any:
        for start in range(0, len(examples), _BATCH):
            yield {k: v.to(self.device) for k, v in self.collate(list(examples[start : start + _BATCH])).items()}

    def _classified(self, model: Any) -> dict[str, Any]:
        said: list[int] = []
        total = 0.0
        for batch in self._batched(self.test.examples):
            with torch.no_grad():
                out = model(**batch)
            said += out.logits.argmax(-1).tolist()
            total += float(out.loss) * len(batch["labels"])
        right = [e["labels"] for e in self.test.examples]
        return {
            "loss": round(total / len(right), 6),
            "accuracy": round(float(accuracy_score(right, said)), 4),
            "f1": round(float(f1_score(right, said, average="macro")), 4),
        }

    def _answers(self, model: Any) -> list[dict[str, str]]:
        """Greedy answers to the first test rows; a text is continued from its middle."""
        shown = []
        count = min(_SHOWN, self.recipe.evaluate.questions)
        for row, example in list(zip(self.corpus.test, self.test.examples, strict=True))[:count]:
            if self.recipe.task == "seq2seq":
                ids, wanted = example["input_ids"], str(row.fields["answer"])
            elif "prompt" in row.fields:
                ids, wanted = (
                    prompt_ids(str(row.fields["prompt"]), self.tokenizer, self.recipe.data),
                    str(row.fields["answer"]),
                )
            else:
                half = max(1, min(len(example["input_ids"]) // 2, 32))
                ids = example["input_ids"][:half]
                wanted = self.tokenizer.decode(example["input_ids"][half:], skip_special_tokens=True)
            shown.append(
                {
                    "question": self.tokenizer.decode(ids, skip_special_tokens=True),
                    "wanted": wanted,
                    "said": self._said(model, ids),
                }
            )
        return shown

    def _first(self, text: str) -> str:
        """As much of a text as an answer may be long."""
        ids = self.tokenizer(text, add_special_tokens=False)["input_ids"][:_LONGEST]
        return str(self.tokenizer.decode(ids, skip_special_tokens=True)).strip()

    def _said(self, model: Any, ids: list[int]) -> str:
        asked = torch.tensor([ids], device=self.device)
        with torch.no_grad():
            out = model.generate(
                input_ids=asked,
                attention_mask=torch.ones_like(asked),
                max_new_tokens=_LONGEST,
                do_sample=False,
                pad_token_id=self.tokenizer.pad_token_id,
                eos_token_id=self.tokenizer.eos_token_id,
            )[0]
        said = out if self.recipe.task == "seq2seq" else out[len(ids) :]
        return str(self.tokenizer.decode(said, skip_special_tokens=True)).strip()


def _save(
    model: Any, recipe: Recipe, base: str, folder: RunFolder, tokenizer: Any, measure: _Measure, *, device: str
) -> dict[str, Any]:
    """Saves, reloads and merges what was learned; each must give the test loss that was measured in memory."""
    labels = len(measure.corpus.labels) or None
    for left in folder.path.glob("weights*"):  # of a run that was killed while it merged
        shutil.rmtree(left)
    shutil.rmtree(folder.adapter, ignore_errors=True)
    if recipe.method in ("full", "freeze"):
        model.save_pretrained(folder.weights)
        tokenizer.save_pretrained(folder.weights)
        again = models.load_base(str(folder.weights), torch.float32, task=recipe.task, labels=labels).eval()
        return {"reloaded": measure.again(again), "merged": None}
    models.save_adapter(model, base, folder.adapter, torch.float32)
    again = measure.again(models.reload(recipe, base, folder.adapter, device=device, labels=labels))
    tokenizer.save_pretrained(folder.adapter)
    if recipe.method in UNMERGEABLE:
        return {"reloaded": again, "merged": None}
    assert recipe.method in LORA_KINDS
    if recipe.method in QUANTISED:
        merged = models.merge_quantised(recipe, base, folder.adapter, folder.weights, tokenizer, measure.loss, device)
    else:
        models.merge(base, folder.adapter, folder.weights, tokenizer, task=recipe.task, labels=labels)
        whole = models.load_base(str(folder.weights), torch.bfloat16, task=recipe.task, labels=labels).eval()
        merged = {"kept": models.ORIGINAL, "held_out_loss": {models.ORIGINAL: measure.again(whole)["loss"]}}
    return {"reloaded": again, "merged": merged}


def _report(folder: RunFolder, recipe: Recipe, result: dict[str, Any]) -> None:
    scores = result["scores"]
    names = [k for k in next(iter(scores.values())) if k != "examples" and not k.endswith("_interval")]
    parts: list[Any] = [f"{recipe.method} on {result['base']['name']}, in {result['seconds'] / 60:.1f} minutes."]
    if folder.progress.is_file():
        lines = read_progress(folder.progress)
        rows = [(f"{s.at:.2f}", s.step, f"{s.loss:.4f}", f"{s.validation:.4f}") for s in stops(lines)]
        parts += [heading("How it learned"), verdict(lines), plots.learning(lines)]
        parts += [table(("epoch", "step", "training loss", "validation loss"), rows)]
    parts += [
        heading("On the test rows"),
        table(("", *scores), [(n, *(_figure(s, n) for s in scores.values())) for n in names]),
    ]
    if examples := scores["base"].get("examples"):
        after = scores.get("tuned", scores["base"])["examples"]
        shown = [(b["question"], b["wanted"], b["said"], a["said"]) for b, a in zip(examples, after, strict=True)]
        parts += [heading("Before and after"), table(("asked", "wanted", "base", "tuned"), shown)]
    made_of = {k: v for k, v in result.items() if k not in ("scores", "reloaded")}
    parts += [heading("Made of"), table(("", ""), made_of.items())]
    write_page(folder.report, f"{recipe.name}: training report", parts)


def _figure(scores: dict[str, Any], name: str) -> str:
    low, high = scores.get(f"{name}_interval", (None, None))
    return f"{scores[name]}" if low is None else f"{scores[name]} ({low:.0f}–{high:.0f})"
