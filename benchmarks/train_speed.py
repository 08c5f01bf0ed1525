"""Training speed and memory beside plain TRL (`trl sft`): same model, wordings, batch size, adapter and loss mask.

python benchmarks/train_speed.py --topic topics/ho_chi_minh [--base models/mini] [--rounds 3] [--steps 40]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import re
import statistics
import subprocess
import sys
import tempfile
import tomllib
from datetime import date
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
BATCH, RANK, ALPHA, RATE = 32, 64, 128, 3e-3
# Whole answers, as TRL shows them; what is measured after training is of no interest here.
RECIPE = f"""
[lora]
r = {RANK}
alpha = {ALPHA}
dropout = 0.0
target_modules = "all-linear"
[data]
evidence_share = 0.0
unknown_share = 0.0
word_dropout = 0.0
[train]
batch_size = {BATCH}
tokens_at_once = 4096
learning_rate = {RATE}
max_steps = %d
evaluations = 1
[evaluate]
questions = 1
base_questions = 1
parity_prompts = 1
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--topic", type=Path, required=True)
    parser.add_argument("--base", default="models/mini")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=40)
    args = parser.parse_args()
    # One after the other, each in a process of its own, so that a noisy machine is noisy for both.
    found: dict[str, list[dict[str, float]]] = {"trl": [], "docent": []}
    for number in range(args.rounds):
        for way, measure in (("trl", _trl), ("docent", _docent)):
            with tempfile.TemporaryDirectory() as folder:
                found[way].append(measure(args, Path(folder)))
            print(f"round {number + 1}, {way}: {found[way][-1]}", flush=True)
    ratios = [a["tokens_per_s"] / b["tokens_per_s"] for a, b in zip(found["docent"], found["trl"], strict=True)]
    result: dict[str, Any] = {
        "date": date.today().isoformat(),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}",
        "base": args.base,
        "steps": args.steps,
        "tokens_per_s": {way: round(statistics.median(o["tokens_per_s"] for o in all_)) for way, all_ in found.items()},
        "peak_gib": {way: max(one["peak_gib"] for one in all_) for way, all_ in found.items()},
        "docent_by_trl": round(statistics.median(ratios), 2),
        "rounds": found,
    }
    RESULTS.mkdir(exist_ok=True)
    out = RESULTS / f"train-speed-{Path(args.base).name}.json"
    out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps({k: result[k] for k in ("tokens_per_s", "peak_gib", "docent_by_trl")}, indent=1), out, sep="\n")


def _docent(args: argparse.Namespace, folder: Path) -> dict[str, float]:
    """What the run itself reports of its last step, the validation after it left out."""
    recipe, run = folder / "speed.toml", folder / "run"
    recipe.write_text(RECIPE % args.steps, encoding="utf-8")
    command = ["-m", "training", "run", "--topic", str(args.topic), "--recipe", str(recipe), "--base", args.base]
    _peak([sys.executable, *command, "--out", str(run)])
    steps = [json.loads(line) for line in (run / "progress.jsonl").read_text(encoding="utf-8").splitlines()]
    last = [line for line in steps if "loss" in line][-1]
    return {"tokens_per_s": last["tok_s"], "peak_gib": last["peak_gib"]}


def _trl(args: argparse.Namespace, folder: Path) -> dict[str, float]:
    """As many of the topic's wordings as the steps need, as prompts and completions."""
    about = tomllib.loads((args.topic / "topic.toml").read_text(encoding="utf-8"))
    title = about["title"] if isinstance(about["title"], str) else about["title"]["en"]
    persona = about.get("persona", f"You are a kind museum guide to {title}.")
    rows = [json.loads(line) for line in (args.topic / "questions.jsonl").read_text(encoding="utf-8").splitlines()]
    asked = [
        (text, row["answer"])
        for row in rows
        if not row.get("held")
        for text in [row["question"], *(p["text"] for p in row["paraphrases"] if not p.get("held"))]
    ]
    data = folder / "data"
    data.mkdir()
    with (data / "train.jsonl").open("w", encoding="utf-8") as file:
        for question, answer in random.Random(7).sample(asked, args.steps * BATCH):
            system = {"role": "system", "content": persona}
            line = {
                "prompt": [system, {"role": "user", "content": question}],
                "completion": [{"role": "assistant", "content": answer}],
            }
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
    options = {
        "model_name_or_path": args.base,
        "dtype": "float32",
        "dataset_name": data,
        "output_dir": folder / "out",
        "use_peft": True,
        "lora_r": RANK,
        "lora_alpha": ALPHA,
        "lora_dropout": 0.0,
        "lora_target_modules": "all-linear",
        "per_device_train_batch_size": BATCH,
        "learning_rate": RATE,
        "num_train_epochs": 1,
        "bf16": True,
        "use_cpu": not Path("/proc/driver/nvidia/version").exists(),
        "gradient_checkpointing": False,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "logging_steps": args.steps,
    }
    command = [str(Path(sys.executable).parent / "trl"), "sft"]
    for name, value in options.items():
        command += [f"--{name}", str(value)]
    said, peak = _peak(command)
    tokens = float(re.findall(r"'num_tokens': '?([\d.e+]+)", said)[-1])
    seconds = float(re.findall(r"'train_runtime': '?([\d.e+]+)", said)[-1])
    return {"tokens_per_s": round(tokens / seconds, 1), "peak_gib": peak}


def _peak(command: list[str]) -> tuple[str, float]:
    """Runs a program; what it printed, and its peak of memory in GiB."""
    with tempfile.TemporaryFile() as said:
        program = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT, cwd=HERE.parent)
        _, status, used = os.wait4(program.pid, 0)
        said.seek(0)
        text = said.read().decode("utf-8", "replace")
    if status:
        sys.exit(f"{' '.join(command[:4])}: {text[-2000:]}")
    return text, round(used.ru_maxrss / 2**20, 2)


if __name__ == "__main__":
    main()
