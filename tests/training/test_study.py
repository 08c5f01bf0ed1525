"""What a study promises: it stops, it goes on after a kill, nothing is lost or taken for whole that is not."""

import json
import math
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.conftest import ROOT
from tests.training.conftest import STUDIES
from training.checkpoints import WholeCheckpoints, is_whole, last_whole
from training.config import Recipe
from training.errors import BaseError, DataError, DivergedError, RecipeError, StorageError
from training.finetune import for_machine
from training.progress import read_progress
from training.study import study

Tiny = Callable[[str], str]


def recipe_for(kind: str, file: str | Path, *, data: Any = (), train: Any = (), **more: Any) -> Recipe:
    """A small recipe over a fixture file."""
    return Recipe.model_validate(
        {
            "name": "small",
            "data": {"kind": kind, "train": str(STUDIES / file), "max_length": 64, **dict(data)},
            "train": {
                "epochs": 4,
                "batch_size": 4,
                "learning_rate": 1e-2,
                "precision": "fp32",
                "evaluations": 4,
                "warmup_steps": 0,
                "schedule": "constant",
                **dict(train),
            },
            **more,
        }
    )


def quotes(**more: Any) -> Recipe:
    more.setdefault("lora", {"r": 4, "alpha": 8, "dropout": 0.1})
    more["data"] = {"columns": {"text": "quote"}, "validation_share": 0.25, **more.get("data", {})}
    return recipe_for("text", "quotes.jsonl", **more)


def losses(run: Path, key: str = "loss") -> list[float]:
    return [float(line[key]) for line in read_progress(run / "progress.jsonl") if key in line]


def test_a_model_that_overfits_is_stopped_and_its_best_kept(tiny: Tiny, tmp_path: Path) -> None:
    recipe = quotes(
        data={"validation_share": 0.4},
        train={"epochs": 60, "evaluations": 60, "patience": 8, "learning_rate": 3e-2},
        lora={"r": 32, "alpha": 64},
    )
    result = study(recipe, tiny("llama"), tmp_path, device="cpu")
    seen = losses(tmp_path, "eval_loss")
    assert result["training"]["stopped_early"] and len(seen) < 60
    assert seen.index(min(seen)) == len(seen) - 1 - 8
    # Without a file of its own the validation rows are the test rows: what is kept is the best, not the last.
    assert result["scores"]["tuned"]["loss"] == pytest.approx(min(seen), abs=0.01) and max(seen[-8:]) > min(seen) + 0.02


def test_a_killed_run_goes_on_to_the_same_weights(tiny: Tiny, tmp_path: Path) -> None:
    """Killed with SIGKILL when its second checkpoint is written and not yet known to be whole."""
    recipe = quotes(train={"patience": 10})
    (tmp_path / "recipe.json").write_text(recipe.model_dump_json(exclude_unset=True), encoding="utf-8")
    program = f"""
import os, pathlib, signal
import training.checkpoints as checkpoints
from training.config import Recipe
from training.study import study
seal = checkpoints.seal
def killed(checkpoint):
    if checkpoint.name != "checkpoint-3":
        os.kill(os.getpid(), signal.SIGKILL)
    seal(checkpoint)
checkpoints.seal = killed
recipe = Recipe.model_validate_json(pathlib.Path({str(tmp_path / "recipe.json")!r}).read_text())
study(recipe, {tiny("llama")!r}, pathlib.Path({str(tmp_path / "killed")!r}), device="cpu")
"""
    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == -signal.SIGKILL, ended.stderr[-2000:]
    left = sorted(c.name for c in (tmp_path / "killed" / "checkpoints").iterdir())
    assert left == ["checkpoint-3", "checkpoint-6"]
    study(recipe, tiny("llama"), tmp_path / "killed", device="cpu", resume=True)
    study(recipe, tiny("llama"), tmp_path / "whole", device="cpu")
    ours, theirs = (load_file(tmp_path / run / "adapter" / "adapter_model.safetensors") for run in ("killed", "whole"))
    assert ours.keys() == theirs.keys()
    assert all(torch.allclose(ours[name], theirs[name], atol=1e-6) for name in ours)
    with pytest.raises(RecipeError, match="began with other settings"):
        (tmp_path / "killed" / "eval.json").unlink()
        study(quotes(train={"epochs": 5}), tiny("llama"), tmp_path / "killed", device="cpu", resume=True)


def test_what_is_half_written_is_no_checkpoint(tmp_path: Path) -> None:
    from training.checkpoints import seal

    for step in (2, 10):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        (folder / "trained.safetensors").write_bytes(b"12345678")
        seal(folder)
    assert last_whole(tmp_path) == tmp_path / "checkpoint-10"
    (tmp_path / "checkpoint-10" / "trained.safetensors").write_bytes(b"1234")
    assert not is_whole(tmp_path / "checkpoint-10")
    assert last_whole(tmp_path) == tmp_path / "checkpoint-2"
    assert not (tmp_path / "checkpoint-10").exists()


def test_two_processes_give_the_losses_of_one(tiny: Tiny, tmp_path: Path) -> None:
    recipe = quotes(lora={"r": 4, "alpha": 8})
    (tmp_path / "pair.toml").write_text(
        f"""
[lora]
r = 4
alpha = 8
[data]
kind = "text"
train = "{recipe.data.train}"
columns = {{ text = "quote" }}
validation_share = 0.25
max_length = 64
[train]
{chr(10).join(f"{k} = {json.dumps(v)}" for k, v in recipe.train.model_dump(exclude_unset=True).items())}
""",
        encoding="utf-8",
    )
    command = ["-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2", "--num_machines", "1"]
    command += ["--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"]
    command += ["-m", "training", "run", "--recipe", str(tmp_path / "pair.toml"), "--base", tiny("llama")]
    ended = subprocess.run(
        [sys.executable, *command, "--out", str(tmp_path / "two"), "--device", "cpu"],
        cwd=ROOT, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr[-3000:]
    study(recipe, tiny("llama"), tmp_path / "one", device="cpu")
    two, one = losses(tmp_path / "two"), losses(tmp_path / "one")
    assert len(two) == len(one) > 8
    assert two == pytest.approx(one, abs=1e-3)
    assert losses(tmp_path / "two", "eval_loss")[-1] == pytest.approx(
        losses(tmp_path / "one", "eval_loss")[-1], abs=0.05
    )


def test_a_loss_that_is_no_number_stops_and_leaves_the_last_good_checkpoint(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = WholeCheckpoints.on_save

    def spoil(self: Any, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        whole(self, args, state, control, **kwargs)
        next(p for p in kwargs["model"].parameters() if p.requires_grad).data.fill_(math.nan)

    monkeypatch.setattr(WholeCheckpoints, "on_save", spoil)
    with pytest.raises(DivergedError, match="the loss is nan at step 4; .*checkpoint-3 is whole and stays"):
        study(quotes(), tiny("llama"), tmp_path, device="cpu")
    assert is_whole(tmp_path / "checkpoints" / "checkpoint-3")


@pytest.fixture
def room() -> Iterator[Callable[[int], None]]:
    """A function that lets no file of this process grow beyond so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_leaves_the_old_checkpoint(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: Callable[[int], None]
) -> None:
    whole = WholeCheckpoints.on_save

    def fill(self: Any, *args: Any, **kwargs: Any) -> None:
        whole(self, *args, **kwargs)
        room(4000)

    monkeypatch.setattr(WholeCheckpoints, "on_save", fill)
    with pytest.raises(StorageError, match="step 6 could not be written .*checkpoint-3 is whole and stays"):
        study(quotes(), tiny("llama"), tmp_path, device="cpu")
    assert [c.name for c in (tmp_path / "checkpoints").iterdir()] == ["checkpoint-3"]


def test_the_rate_falls_in_steps_with_another_optimizer(tiny: Tiny, tmp_path: Path) -> None:
    steps = {"schedule": "step", "step_every": 3, "step_factor": 0.1, "optimizer": "adafactor", "epochs": 3}
    study(quotes(train=steps), tiny("llama"), tmp_path, device="cpu")
    rates = losses(tmp_path, "learning_rate")
    assert rates[0] == pytest.approx(1e-2) and rates[3] == pytest.approx(1e-3) and rates[6] == pytest.approx(1e-4)


def test_accumulated_batches_count_as_one(tiny: Tiny, tmp_path: Path) -> None:
    one, many = (
        quotes(lora={"r": 4, "alpha": 8}),
        quotes(lora={"r": 4, "alpha": 8}, train={"batch_size": 2, "accumulation": 2}),
    )
    for name, recipe in (("one", one), ("many", many)):
        study(recipe, tiny("llama"), tmp_path / name, device="cpu")
    assert losses(tmp_path / "many") == pytest.approx(losses(tmp_path / "one"), abs=1e-3)


def test_layers_computed_twice_give_the_losses_of_once(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import modeling_utils

    twice = 0

    def counted(*args: Any, **kwargs: Any) -> Any:
        nonlocal twice
        twice += 1
        return checkpoint(*args, **kwargs)

    checkpoint = modeling_utils.checkpoint
    monkeypatch.setattr(modeling_utils, "checkpoint", counted)
    for name, saving in (("plain", False), ("saving", True)):
        recipe = quotes(lora={"r": 4, "alpha": 8}, train={"epochs": 2, "gradient_checkpointing": saving})
        study(recipe, tiny("llama"), tmp_path / name, device="cpu")
    assert twice == 2 * 6  # layers, steps
    assert losses(tmp_path / "saving") == pytest.approx(losses(tmp_path / "plain"), abs=1e-4)


def test_freezing_trains_the_later_layers_alone(tiny: Tiny, tmp_path: Path) -> None:
    base = tiny("llama")
    study(_without_lora("freeze"), base, tmp_path, device="cpu")
    before, after = load_file(Path(base) / "model.safetensors"), load_file(tmp_path / "weights" / "model.safetensors")
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert not any(".layers.0." in name or "embed" in name for name in changed)
    assert any(".layers.1." in name for name in changed)


def _without_lora(method: str) -> Recipe:
    return recipe_for(
        "text", "quotes.jsonl", data={"columns": {"text": "quote"}, "validation_share": 0.25}, method=method
    )


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"method": "prefix", "lora": {"r": 4}}, r"\[lora\] is not read by method = 'prefix'"),
        ({"method": "bottleneck"}, "needs .bottleneck. with target_modules"),
        ({"task": "seq2seq"}, "task = 'seq2seq' does not learn from data.kind = 'text'"),
        ({"train": {"warmup_ratio": 0.1, "warmup_steps": 3}}, "say the same thing twice"),
        ({"train": {"step_every": 3}}, "belong to train.schedule = 'step'"),
        ({"train": {"packing": True}, "method": "p_tuning"}, "train.packing is for"),
        ({"train": {"gradient_checkpointing": True}, "method": "prefix"}, "take one of them out"),
        ({"lora": {"skip_layers": 1}}, "'all-linear' means those of every layer"),
        ({"data": {"kind": "text"}}, "data.train is missing"),
        ({"data": {"kind": "text", "train": "a.jsonl", "evidence_share": 0.1}}, "has no meaning with data.kind"),
        ({"data": {"train": "a.jsonl"}}, "data.train has no meaning with data.kind = 'museum'"),
        ({"data": {}, "method": "full"}, "a guide is trained with lora, qlora, int8_lora"),
        ({"trials": [{"name": "a", "method": "bottleneck"}]}, "in a trial: method = 'bottleneck' needs"),
        ({"bottleneck": {"hidden_size": "8x", "target_modules": ["a"]}, "method": "bottleneck"}, "'8x' is no width"),
        ({"method": "qlora", "task": "classification"}, "before it has learned; use lora"),
    ],
)
def test_contradictions_are_refused_in_the_words_of_the_file(
    settings: dict[str, Any], said: str, tmp_path: Path
) -> None:
    from pydantic import ValidationError

    kind = "classification" if settings.get("task") == "classification" else "text"
    with pytest.raises(ValidationError, match=said):
        Recipe.model_validate({"name": "odd", "data": {"kind": kind, "train": "a.jsonl"}, **settings})


def test_a_gpu_recipe_on_a_cpu_says_what_to_change(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    recipe = quotes(method="qlora", train={"precision": "fp16", "optimizer": "paged_adamw_8bit"})
    with pytest.raises(RecipeError, match="made for a GPU .*fp16.*paged_adamw_8bit.*qlora.*--device cpu"):
        for_machine(recipe, "auto")
    ready = for_machine(recipe, "cpu")
    assert (ready.train.precision, ready.train.optimizer, ready.method) == ("fp32", "adamw", "qlora")
    assert ready.train.model_copy(update={"precision": "fp16", "optimizer": "paged_adamw_8bit"}) == recipe.train


def test_a_model_in_shards_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(RecipeError, match="leave --use_fsdp out, and the processes share each batch"):
        for_machine(quotes(), "cpu")


def test_bases_that_do_not_fit_say_what_there_is(tiny: Tiny, tmp_path: Path) -> None:
    for wrong in (quotes(lora={"target_modules": ["nonsense"]}), _bottleneck("nonsense")):
        with pytest.raises(BaseError, match="matches nothing; there are .*q_proj"):
            study(wrong, tiny("llama"), tmp_path / "run", device="cpu")
    with pytest.raises(BaseError, match="takes no vectors in front of its layers"):
        study(_without_lora("prefix"), tiny("falcon"), tmp_path / "run", device="cpu")
    strange = _copy(tiny("llama"), tmp_path / "strange")
    (strange / "config.json").write_text('{"model_type": "abacus"}', encoding="utf-8")
    with pytest.raises(BaseError, match="abacus"):
        study(quotes(), str(strange), tmp_path / "run", device="cpu")
    bare = _copy(tiny("llama"), tmp_path / "bare")
    (bare / "model.safetensors").unlink()
    with pytest.raises(BaseError, match="give a folder with config.json and"):
        study(quotes(), str(bare), tmp_path / "run", device="cpu")


def _bottleneck(target: str) -> Recipe:
    return recipe_for(
        "text",
        "quotes.jsonl",
        data={"columns": {"text": "quote"}},
        method="bottleneck",
        bottleneck={"target_modules": [target]},
    )


def _copy(base: str, to: Path) -> Path:
    import shutil

    return Path(shutil.copytree(base, to))


def test_data_that_teaches_nothing_is_refused(tiny: Tiny, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no usable row of kind 'text': it needs 'text', and has author, quote"):
        study(recipe_for("text", "quotes.jsonl"), tiny("llama"), tmp_path / "run", device="cpu")
    (tmp_path / "broken.jsonl").write_text('{"text": "a"}\n{"text": \n', encoding="utf-8")
    with pytest.raises(DataError, match="broken.jsonl:2: not valid JSON"):
        study(recipe_for("text", tmp_path / "broken.jsonl"), tiny("llama"), tmp_path / "run", device="cpu")
    with pytest.raises(DataError, match="there is no such file; bring it"):
        study(recipe_for("text", tmp_path / "absent.jsonl"), tiny("llama"), tmp_path / "run", device="cpu")
