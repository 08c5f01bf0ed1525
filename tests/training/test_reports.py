"""What a run says about itself: verdict, figures, pages, seeds."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Finished
from training.compare import Figure, compare, read_trial
from training.config import Recipe
from training.errors import TrainingError
from training.figures import Recited, bleu_and_chrf, mean_with_interval, repetition, sentence_bleu, words
from training.learning import Line, stops, verdict
from training.progress import read_progress
from training.seeds import train_each


def curve(train: list[float], validation: list[float]) -> list[Line]:
    """Ten reports and one validation a pass."""
    lines: list[Line] = []
    for number, (loss, held) in enumerate(zip(train, validation, strict=True), 1):
        for step in range(number * 10 - 9, number * 10 + 1):
            lines.append({"step": step, "pass": step / 10, "loss": loss, "grad_norm": 1.0, "learning_rate": 1e-3})
        lines.append({"step": number * 10, "pass": number, "eval_loss": held})
    return lines


@pytest.mark.parametrize(
    ("train", "validation", "said"),
    [
        ([3, 2, 1, 0.6, 0.4, 0.3, 0.2], [2.9, 2, 1.4, 1.2, 1.21, 1.4, 1.7], "Best at pass 4 .* overfits from pass 6"),
        ([3, 2, 1], [2.9, 2, 1], "still getting better at the end, so more passes may help"),
        ([3, 1, 0.5, 0.4], [2, 1.0, 0.995, 1.0], "Best at pass 3 .*; no overfitting"),
        ([3, 2.99, 2.98], [3, 3, 3], "^Hardly learned: the training loss went from 3.00 to 2.98. Train longer"),
        ([3, 1, 4.9], [2, 1, 5], "^Came apart: .* lower learning rate"),
        ([3, 2, math.nan], [2, 1, math.nan], "^Broke: from step 21 on the loss is not a number"),
    ],
)
def test_the_verdict_names_what_happened(train: list[float], validation: list[float], said: str) -> None:
    import re

    assert re.search(said, verdict(curve(train, validation)))


def test_a_curve_without_validation_is_judged_by_its_loss_alone() -> None:
    lines = [line for line in curve([3, 1], [3, 1]) if "loss" in line]
    assert verdict(lines) == "Learned: the training loss went from 3.00 to 1.00."
    assert stops(lines) == [] and verdict([]) == "Nothing was trained."


def test_progress_tells_speed_memory_and_the_pass(finished: Finished) -> None:
    lines = read_progress(finished.folder / "progress.jsonl")
    assert lines[-1]["pass"] == pytest.approx(finished.recipe.train.epochs)
    assert all(line["tok_s"] > 0 and 0.1 < line["peak_gib"] < 100 for line in lines)
    found = stops(lines)
    assert len(found) == finished.recipe.train.evaluations
    assert found[-1].loss < found[0].loss and all(s.grad_norm > 0 for s in found)


def test_the_live_line_is_for_people(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    from transformers import TrainerControl, TrainerState, TrainingArguments

    from training.progress import ProgressWriter

    arguments = TrainingArguments(output_dir=str(tmp_path), report_to=[], use_cpu=True)
    state, control = TrainerState(max_steps=100, epoch=0.5, global_step=50), TrainerControl()
    writer = ProgressWriter(tmp_path / "progress.jsonl", passes=8)
    with caplog.at_level("INFO", "training.progress"):
        writer.on_step_begin(arguments, TrainerState(), control)
        state.num_input_tokens_seen = 5000
        writer.on_log(arguments, state, control, {"eval_loss": 0.388})
        writer.on_log(arguments, state, control, {"loss": 0.412, "learning_rate": 1.8e-4})
    assert "step 00050/00100 (50%) | loss 0.412 | lr 1.8e-04 | " in caplog.text
    assert "tok/s | left 0 s | best val 0.388 @ 50 | peak " in caplog.text
    assert read_progress(tmp_path / "progress.jsonl")[1]["pass"] == 4


def test_figures_of_answers() -> None:
    mean, (low, high) = mean_with_interval([1.0] * 30 + [0.0] * 10)
    assert mean == 0.75 and 0.55 < low < 0.75 < high < 0.92
    assert mean_with_interval([1.0]) == (1.0, (1.0, 1.0)) == mean_with_interval([True, True])
    right = ["The tower is 38 metres high.", "灯塔高三十八米。", "It was built in 1871 by Ada Finch."]
    figures = bleu_and_chrf(right, right)
    assert figures["bleu"] == pytest.approx(100) and figures["chrf"] == pytest.approx(100)
    assert sentence_bleu(right, right) == pytest.approx(100)
    # One wrong character of eight is not a wrong sentence.
    assert bleu_and_chrf(["灯塔高三十九米。"] * 3, ["灯塔高三十八米。"] * 3)["bleu"] > 30
    low, high = bleu_and_chrf([*right[:2], "Nobody knows that."], right)["chrf_interval"]
    assert low < 100 and low < high
    assert Recited(right).share(["It was built in 1871 by me"]) == pytest.approx(3 / 4)
    assert Recited(right).share(["No"]) == 0 == repetition(["No", "nothing is said twice here"])
    assert repetition(["the light the light the light the light"]) == pytest.approx(4 / 6)
    assert words("灯塔高 38 m") == 5


def test_every_figure_is_there_for_base_and_tuned(finished: Finished) -> None:
    for model in ("tuned", "base"):
        for scores in finished.result["scores"][model].values():
            low, high = scores["key_fact_interval"]
            assert 0 <= low <= scores["key_fact"] <= high <= 1
            assert {"bleu", "chrf", "teacher_forced_bleu", "perplexity", "recited", "repetition"} <= set(scores)
            assert sum(f["questions"] for f in scores["by_language"].values()) == scores["questions"]
    tuned, base = (finished.result["scores"][m]["trained"] for m in ("tuned", "base"))
    assert tuned["teacher_forced_bleu"] > 80 > base["teacher_forced_bleu"]
    assert tuned["recited"] > 0.5 > base["recited"]
    assert abs(tuned["words"] - tuned["words_wanted"]) < 5
    # The same questions, in the same order: each answer stands beside the base's.
    asked = [[e["question"] for e in s["examples"]] for s in (tuned, base)]
    assert asked[0][: len(asked[1])] == asked[1]


def test_the_report_tells_it_all_and_fetches_nothing(finished: Finished) -> None:
    page = (finished.folder / "report.html").read_text(encoding="utf-8")
    for part in ("How it learned", "Learned: the training loss", "Best at pass", "gradient norm", "By language", "kept",
                 "Before and after", "teacher-forced BLEU", "GiB of memory"):  # fmt: skip
        assert part in page, part
    assert page.count("data:image/png;base64,") == 2
    assert "://" not in page


def copied(run: Path, to: Path, seed: int, key_fact: float, loss: float) -> Path:
    shutil.copytree(run, to, ignore=shutil.ignore_patterns("weights", "adapter"))
    result, recipe = (json.loads((to / name).read_text(encoding="utf-8")) for name in ("eval.json", "recipe.json"))
    result["scores"]["tuned"]["reworded"] |= {"key_fact": key_fact, "key_fact_interval": [key_fact, key_fact]}
    recipe["train"]["seed"] = seed
    lines = [{**line, **({"eval_loss": loss} if "eval_loss" in line else {})} for line in _lines(to)]
    (to / "progress.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    (to / "eval.json").write_text(json.dumps(result), encoding="utf-8")
    (to / "recipe.json").write_text(json.dumps(recipe), encoding="utf-8")
    return to


def _lines(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "progress.jsonl").read_text(encoding="utf-8").splitlines()]


def test_a_difference_within_the_spread_of_seeds_is_no_difference(finished: Finished, tmp_path: Path) -> None:
    for trial, scores in {"a": (0.50, 0.54, 0.58), "b": (0.53, 0.60, 0.56), "c": (0.80, 0.82, 0.84)}.items():
        for seed, score in enumerate(scores, 7):
            copied(finished.folder, tmp_path / trial / f"seed-{seed}", seed, score, 1.0)
    trials = compare([tmp_path / t for t in "abc"], tmp_path / "compare.html")
    a, b, c = (t.figures["reworded.key_fact"] for t in trials)
    assert (round(a.value, 4), a.low, a.high, round(a.spread or 0, 4)) == (0.54, 0.5, 0.58, 0.04)
    assert a.like(b) and not a.like(c)
    page = (tmp_path / "compare.html").read_text(encoding="utf-8")
    assert "≈ 0.563 ± 0.035" in page and "≈ 0.82" not in page and "0.82 ± 0.02" in page
    assert page.count("data:image/png;base64,") == 4 and "://" not in page
    assert "<p>Nothing.</p>" in page  # the seeds are no setting


def test_single_runs_are_compared_by_their_intervals_and_settings(finished: Finished, tmp_path: Path) -> None:
    one, other = (copied(finished.folder, tmp_path / n, s, 0.5, 1.0) for n, s in (("x", 7), ("y", 8)))
    compare([one, other], tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "train.seed" in page and "Trials with one run only" in page
    assert Figure(0.5, 0.4, 0.6).like(Figure(0.65, 0.55, 0.75)) and not Figure(1, 1, 1).like(Figure(2, 2, 2))


def test_what_is_no_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="eval.json: missing, so .* is no run or did not finish"):
        read_trial(tmp_path)


def test_seeds_leave_a_run_each_and_go_on_with_the_lowest_validation_loss(
    finished: Finished, recipe: Recipe, tmp_path: Path
) -> None:
    losses = {7: 1.0, 8: 0.7, 9: 0.9}

    def run(recipe: Recipe, folder: Path) -> dict[str, Any]:
        seed = recipe.train.seed
        copied(finished.folder, folder, seed, 0.5 + seed / 100, losses[seed])
        (folder / "weights").mkdir()
        return {"seed": seed}

    best = train_each(recipe, tmp_path / "out", 3, run)
    assert best.result == {"seed": 8} and best.recipe.train.seed == 8 and best.folder.name == "seed-8"
    assert [f.name for f in sorted(tmp_path.glob("out/seed-*/weights"))] == ["weights"]
    assert (best.folder / "weights").is_dir()
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "0.58 ± 0.01" in page and "seed-9" in page
