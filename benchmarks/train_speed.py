"""Training speed and memory beside a plain TRL `SFTTrainer`: same model, examples, batch size and loss mask.

python benchmarks/train_speed.py --topic topics/ho_chi_minh [--base models/mini] [--rounds 3] [--steps 30]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"
WAYS = ("trl", "docent")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--topic", type=Path, required=True)
    parser.add_argument("--base", default="models/mini")
    parser.add_argument("--recipe", default="museum_mini")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.way:
        print(json.dumps(measure(args)))
        return
    # One after the other, each in a process of its own, so that a noisy machine is noisy for both.
    found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for number in range(args.rounds):
        for way in WAYS:
            found[way].append(_in_a_process(way))
            print(f"round {number + 1}, {way}: {found[way][-1]}", flush=True)
    per_second = {way: statistics.median(one["tokens_per_s"] for one in all_) for way, all_ in found.items()}
    result = {
        "date": date.today().isoformat(),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}",
        "base": args.base,
        "recipe": args.recipe,
        "steps": args.steps,
        "tokens_per_s": {way: round(speed) for way, speed in per_second.items()},
        "peak_gib": {way: max(one["peak_gib"] for one in all_) for way, all_ in found.items()},
        "docent_by_trl": round(
            statistics.median(
                ours["tokens_per_s"] / theirs["tokens_per_s"]
                for ours, theirs in zip(found["docent"], found["trl"], strict=True)
            ),
            2,
        ),
        "rounds": found,
    }
    RESULTS.mkdir(exist_ok=True)
    out = RESULTS / f"train-speed-{Path(args.base).name}.json"
    out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps({k: result[k] for k in ("tokens_per_s", "peak_gib", "docent_by_trl")}, indent=1), out, sep="\n")


def _in_a_process(way: str) -> dict[str, float]:
    done = subprocess.run([sys.executable, *sys.argv, "--way", way], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{way}: {done.stderr.strip()}")
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


def measure(args: argparse.Namespace) -> dict[str, float]:
    """Non-padding tokens a second over `steps` steps, and the peak of memory; the answer alone is learned."""
    import torch

    from topics.topic import load_topic
    from training.config import load_recipe
    from training.dataset import Examples, split, with_lessons
    from training.model import load_tokenizer

    topic, recipe = load_topic(args.topic), load_recipe(args.recipe)
    tokenizer = load_tokenizer(args.base)
    sets = split(topic, topic.rows(), recipe.data, seed=7)
    wanted = args.steps * recipe.train.batch_size
    asked = random.Random(7).sample(with_lessons(topic, sets.train, [], recipe.data, seed=7), wanted)
    examples = Examples(topic, tokenizer, asked, recipe.data, augment=False)
    torch.manual_seed(7)
    seconds = (_trl if args.way == "trl" else _docent)(args, recipe, tokenizer, examples)
    tokens = sum(len(examples[i]["input_ids"]) for i in range(len(examples)))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {"tokens_per_s": round(tokens / seconds, 1), "seconds": round(seconds, 2), "peak_gib": round(peak, 2)}


def _docent(args: argparse.Namespace, recipe: Any, tokenizer: Any, examples: Any) -> float:
    from training import model as models
    from training.dataset import Padded
    from training.finetune import finetune

    adapted = models.adapt(models.load_for(recipe, args.base, device="auto"), recipe)
    recipe = recipe.model_copy(update={"train": recipe.train.model_copy(update={"evaluations": 1})})
    first = [examples[i] for i in range(2)]
    with tempfile.TemporaryDirectory() as folder:
        learned = finetune(
            adapted, examples, first, recipe, Path(folder),
            collate=Padded(tokenizer.pad_token_id), epochs=1, device="auto", sampling="group_by_length",
        )  # fmt: skip
    return float(learned["seconds"])


def _trl(args: argparse.Namespace, recipe: Any, tokenizer: Any, examples: Any) -> float:
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM
    from trl import SFTConfig, SFTTrainer

    rows = [examples[i] for i in range(len(examples))]
    data = Dataset.from_dict(
        {
            "input_ids": [row["input_ids"] for row in rows],
            "completion_mask": [[int(label != -100) for label in row["labels"]] for row in rows],
        }
    )
    lora, train = recipe.lora, recipe.train
    with tempfile.TemporaryDirectory() as folder:
        trainer = SFTTrainer(
            AutoModelForCausalLM.from_pretrained(args.base, dtype="float32"),
            args=SFTConfig(
                folder, num_train_epochs=1, per_device_train_batch_size=train.batch_size,
                learning_rate=train.learning_rate, bf16=True, max_length=None, completion_only_loss=True,
                report_to=[], disable_tqdm=True, save_strategy="no", gradient_checkpointing=False,
                dataset_kwargs={"skip_prepare_dataset": True}, logging_steps=max(1, args.steps),
            ),
            train_dataset=data,
            processing_class=tokenizer,
            peft_config=LoraConfig(
                r=lora.r, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=lora.target_modules,
                task_type="CAUSAL_LM",
            ),
        )  # fmt: skip
        began = time.perf_counter()
        trainer.train()
        return time.perf_counter() - began


if __name__ == "__main__":
    main()
