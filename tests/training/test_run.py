"""A real run: what it learns, what it leaves behind, and that nothing half-made is ever served."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.conftest import MINI, ROOT, Finished
from topics.errors import TopicError
from topics.release import ReleaseError, check_release, find_release
from topics.topic import Topic, load_topic
from training.config import Recipe, load_recipe
from training.dataset import Examples, split, with_lessons
from training.errors import BaseError, ParityError, RecipeError, TrainingError
from training.generate import greedy_ids
from training.model import load_base, load_tokenizer, with_adapter
from training.parity import compare
from training.progress import read_progress
from training.release import publish_facts, refit_gate, release
from training.run import RunFolder, prove


def test_the_loss_goes_down_and_the_facts_are_learned(finished: Finished) -> None:
    losses = [line["loss"] for line in read_progress(finished.folder / "progress.jsonl") if "loss" in line]
    assert float(losses[-1]) < float(losses[0]) / 2
    scores = finished.result["scores"]
    assert scores["tuned"]["trained"]["key_fact"] >= 0.8 > scores["base"]["trained"]["key_fact"]
    assert scores["tuned"]["trained"]["perplexity"] < scores["base"]["trained"]["perplexity"]
    assert set(scores["tuned"]) == {"trained", "reworded", "unseen"}


def test_the_merged_model_answers_as_the_adapter(finished: Finished) -> None:
    parity = finished.result["parity"]
    assert parity["prompts"] == 20 == parity["same"] + parity["excused"]


def test_a_run_leaves_exactly_these_files(finished: Finished) -> None:
    assert {f.name for f in finished.folder.iterdir()} == {
        "adapter",
        "weights",
        "progress.jsonl",
        "recipe.json",
        "eval.json",
        "report.html",
    }
    assert {"model.safetensors", "config.json", "tokenizer.json"} <= {
        f.name for f in (finished.folder / "weights").iterdir()
    }
    base, merged = (
        load_file(Path(MINI) / "model.safetensors"),
        load_file(finished.folder / "weights" / "model.safetensors"),
    )
    assert base.keys() == merged.keys()
    assert all(t.dtype == torch.bfloat16 for t in merged.values())
    report = (finished.folder / "report.html").read_text(encoding="utf-8")
    assert "data:image/png;base64," in report and "http://" not in report and "https://" not in report


def test_a_release_is_made_goes_live_and_can_be_refitted(finished: Finished, lighthouse: Topic, tmp_path: Path) -> None:
    first = release(
        lighthouse, finished.recipe, RunFolder(finished.folder), lighthouse.rows(), finished.result, root=tmp_path
    ).folder
    live = find_release(lighthouse, root=tmp_path)
    assert live == first
    manifest = check_release(lighthouse, live)
    assert manifest.scores["tuned"]["trained"]["key_fact"] >= 0.8
    (first / "evidence.npz").unlink()  # a release of a version that knew no such file: its weights are good
    second = refit_gate(lighthouse, root=tmp_path)
    check_release(lighthouse, second)
    assert find_release(lighthouse, root=tmp_path) == second != first
    assert (second / "weights" / "model.safetensors").stat().st_ino == (
        first / "weights" / "model.safetensors"
    ).stat().st_ino
    assert sorted(f.name for f in tmp_path.joinpath("lighthouse").iterdir()) == sorted(
        [first.name, second.name, "live", "previous"]
    )


def test_a_fact_is_corrected_on_the_live_weights_without_training(
    finished: Finished, lighthouse: Topic, tmp_path: Path
) -> None:
    first = release(
        lighthouse, finished.recipe, RunFolder(finished.folder), lighthouse.rows(), finished.result, root=tmp_path
    ).folder
    mended = load_topic(shutil.copytree(lighthouse.folder, tmp_path / "topic"))
    file = mended.folder / "questions.jsonl"
    text = file.read_text(encoding="utf-8")
    assert "The tower is 38 metres high." in text
    file.write_text(text.replace("The tower is 38 metres high.", "It rises 38 metres."), encoding="utf-8")
    second = publish_facts(mended, root=tmp_path)
    assert "It rises 38 metres." in (second / "facts.jsonl").read_text(encoding="utf-8")
    assert "The tower is 38 metres high." in (first / "facts.jsonl").read_text(encoding="utf-8")
    for kept in ("gate.skops", "weights/model.safetensors"):
        assert (second / kept).stat().st_ino == (first / kept).stat().st_ino
    assert find_release(mended, root=tmp_path) == second
    check_release(mended, second)


def test_a_release_that_fails_on_the_way_leaves_nothing(
    finished: Finished, lighthouse: Topic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("training.release.write_manifest", stop)
    with pytest.raises(KeyboardInterrupt):
        release(
            lighthouse, finished.recipe, RunFolder(finished.folder), lighthouse.rows(), finished.result, root=tmp_path
        )
    assert list((tmp_path / "lighthouse").iterdir()) == []
    with pytest.raises(ReleaseError, match="there is no such release"):
        find_release(lighthouse, root=tmp_path)


def test_a_merge_that_changes_answers_is_refused(
    finished: Finished, lighthouse: Topic, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    shutil.copytree(finished.folder / "adapter", tmp_path / "adapter")
    sets = split(lighthouse, lighthouse.rows(), recipe.data, seed=1)

    def forget_the_adapter(base: str, adapter: Path, out: Path, tokenizer: object) -> None:
        shutil.copytree(base, out)

    monkeypatch.setattr("training.model.merge", forget_the_adapter)
    with pytest.raises(ParityError, match="not promoted"):
        prove(lighthouse, recipe, MINI, RunFolder(tmp_path), lighthouse.rows(), sets, everything=False, quick=True)


def test_parity_excuses_near_ties_only(finished: Finished) -> None:
    tokenizer = load_tokenizer(MINI)
    base, tuned = (
        load_base(MINI, torch.bfloat16).eval(),
        load_base(str(finished.folder / "weights"), torch.bfloat16).eval(),
    )
    prompts = [tokenizer.encode("The tower"), tokenizer.encode("When was it built")]
    by_base, by_tuned = (greedy_ids(m, tokenizer, prompts, 20) for m in (base, tuned))
    assert not compare(by_base, tuned, tokenizer, prompts, max_tokens=20, epsilon=0.0).holds
    assert compare(by_base, tuned, tokenizer, prompts, max_tokens=20, epsilon=1e9).holds
    assert compare(by_tuned, tuned, tokenizer, prompts, max_tokens=20, epsilon=0.0).same == 2


def test_the_split_keeps_held_out_wordings_out(lighthouse: Topic, recipe: Recipe) -> None:
    from topics.text import normalise

    sets = split(lighthouse, lighthouse.rows(), recipe.data, seed=1)
    trained = {normalise(a.question) for a in sets.train}
    assert sets.reworded and sets.unseen
    assert not trained & {normalise(a.question) for a in sets.reworded + sets.unseen}
    everything = split(lighthouse, lighthouse.rows(), recipe.data, seed=1, everything=True)
    assert not everything.reworded and not everything.unseen
    assert len(everything.train) > len(sets.train)


def test_only_answers_are_learned(lighthouse: Topic, recipe: Recipe) -> None:
    tokenizer = load_tokenizer(MINI)
    sets = split(lighthouse, lighthouse.rows(), recipe.data, seed=1)
    lessons = with_lessons(lighthouse, sets.train, [], recipe.data, seed=1)
    examples = Examples(lighthouse, tokenizer, lessons, recipe.data, augment=True)
    assert any(lesson.evidence for lesson in lessons)
    for index, lesson in enumerate(lessons):
        example = examples[index]
        learned = [t for t in example["labels"] if t != -100]
        assert learned[-1] == tokenizer.eos_token_id
        assert tokenizer.decode(learned[:-1]) == lesson.answer
        assert example["labels"][0] == -100 and example["input_ids"][-len(learned) :] == learned


def test_an_example_that_is_too_long_is_refused_by_name(lighthouse: Topic, recipe: Recipe) -> None:
    sets = split(lighthouse, lighthouse.rows(), recipe.data, seed=1)
    short = recipe.data.model_copy(update={"max_length": 32})
    with pytest.raises(TrainingError, match="tokens, and data.max_length is 32"):
        Examples(lighthouse, load_tokenizer(MINI), sets.train, short, augment=False)


def test_bases_that_cannot_be_used_are_refused(tmp_path: Path, recipe: Recipe) -> None:
    with pytest.raises(BaseError, match="cannot be loaded as a base model"):
        load_base(str(tmp_path), torch.float32)
    with pytest.raises(BaseError, match="no tokenizer there"):
        load_tokenizer(str(tmp_path))
    with pytest.raises(BaseError, match="matches nothing; there are .*q_proj"):
        with_adapter(load_base(MINI, torch.float32), recipe.lora.model_copy(update={"target_modules": ("nonsense",)}))


def test_recipes_are_checked(tmp_path: Path) -> None:
    assert load_recipe("museum_mini").answering == "curated-first"
    assert load_recipe("museum_7b_qlora").answering == "generate"
    with pytest.raises(RecipeError, match="one of: .*museum_7b_qlora, .*museum_mini"):
        load_recipe("museum_maxi")
    (tmp_path / "odd.toml").write_text("[lora]\nrank = 3\n")
    with pytest.raises(RecipeError, match="lora.rank: extra inputs"):
        load_recipe(tmp_path / "odd.toml")


def test_faulty_questions_stop_a_run_before_it_costs_anything(lighthouse: Topic, tmp_path: Path) -> None:
    import shutil

    from training.run import check_questions

    folder = tmp_path / "lighthouse"
    shutil.copytree(lighthouse.folder, folder)
    rows = [json.loads(line) for line in (folder / "questions.jsonl").read_text(encoding="utf-8").splitlines()]
    rows[0]["key"] = ["1999"]
    (folder / "questions.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    with pytest.raises(TopicError, match="1 errors, the first: .*'1999'"):
        check_questions(lighthouse.model_copy(update={"folder": folder}))


def _hear_ctrl_c() -> None:
    """A shell that runs the tests in the background makes its children deaf to it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_ctrl_c_leaves_no_release(tmp_path: Path) -> None:
    recipe = tmp_path / "long.toml"
    recipe.write_text("[train]\nepochs = 500\n")
    command = [
        sys.executable,
        "-m",
        "training",
        "run",
        "--topic",
        "tests/fixtures/lighthouse",
        "--recipe",
        str(recipe),
        "--base",
        MINI,
    ]
    program = subprocess.Popen(
        [*command, "--out", str(tmp_path / "run")],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_hear_ctrl_c,
    )
    until = time.monotonic() + 120
    while not (tmp_path / "run" / "progress.jsonl").exists() and time.monotonic() < until:
        time.sleep(0.2)
    program.send_signal(signal.SIGINT)
    _, said = program.communicate(timeout=60)
    assert program.returncode == 130
    assert "no release was made and the live one is untouched" in said
    assert not (tmp_path / "run" / "weights").exists()


def test_the_shipped_adapter_belongs_to_the_default_topic() -> None:
    from training.release import shipped_adapter

    topic = load_topic("ho_chi_minh")
    folder = shipped_adapter(topic, topic.rows(), "models/mini")
    assert folder, "questions, persona or base changed: run `make ship-adapter`"
    assert sum(f.stat().st_size for f in folder.iterdir()) <= 8_000_000


def test_the_mini_base_keeps_its_limits() -> None:
    model = load_base(MINI, torch.bfloat16)
    assert model.num_parameters() <= 10_000_000
    assert (Path(MINI) / "model.safetensors").stat().st_size <= 15_000_000
    assert len(list(Path(MINI).glob("*.safetensors"))) == 1
    assert model.config.model_type == "llama"
