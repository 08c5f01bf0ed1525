"""May a candidate go live? Against a real live release; and undoing it."""

import contextlib
import csv
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.conftest import LIGHTHOUSE, MINI, ROOT, Finished
from topics.release import ReleaseError, find_release, list_releases, live_name, make_live, promote, roll_back
from topics.topic import Topic
from training.dataset import Asked, split
from training.errors import ServedError
from training.model import load_base, load_tokenizer
from training.parity import Speaks, compare_served, parity_sample, rendered
from training.promotion import Measure
from training.release import Made, Serve, release
from training.run import RunFolder

Release = Callable[..., Made]


@pytest.fixture
def make(
    finished: Finished, lighthouse: Topic, stand_in_release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Release:
    """A function that makes a release of the finished run, or of another folder and result."""

    def as_fitted_before(topic: Topic, rows: object, folder: Path) -> dict[str, Any]:
        for name in ("gate.skops", "facts.jsonl", "evidence.json", "evidence.npz", "decided.json", "decided.npz"):
            shutil.copy(stand_in_release / name, folder)
        return {}

    # Fitting a gate takes seconds, and it is the same one every time.
    monkeypatch.setattr("training.release.write_knowledge", as_fitted_before)

    def made(
        folder: Path = finished.folder, result: dict[str, Any] = finished.result, serve: Serve | None = None
    ) -> Made:
        run, rows = RunFolder(folder), lighthouse.rows()
        return release(lighthouse, finished.recipe, run, rows, result, root=tmp_path, serve=serve)

    return made


@pytest.fixture
def untrained(finished: Finished, tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    """A run that learned nothing: the bare base's weights, and the answers that it gave."""
    folder = tmp_path / "run"
    shutil.copytree(finished.folder, folder)
    shutil.rmtree(folder / "weights")
    shutil.copytree(MINI, folder / "weights")
    tuned = {
        name: {**scores, "examples": [{**e, "said": "Once upon a time."} for e in scores["examples"]]}
        for name, scores in finished.result["scores"]["tuned"].items()
    }
    return folder, {**finished.result, "scores": {**finished.result["scores"], "tuned": tuned}}


def test_the_first_release_goes_live_with_a_warning(make: Release, caplog: pytest.LogCaptureFixture) -> None:
    made = make()
    assert made.judgement.promote and made.judgement.against is None
    assert "first release" in caplog.text and live_name(made.folder.parent) == made.folder.name


def test_a_candidate_as_good_as_the_live_release_goes_live(make: Release, lighthouse: Topic, tmp_path: Path) -> None:
    first, second = make(), make()
    assert second.judgement.promote and second.judgement.against == first.folder.name
    assert second.judgement.asked == "held-out"
    whats = {m.what: m for m in second.judgement.measures}
    assert len(whats) == 6 and all((m.low, m.high) == (0, 0) for m in whats.values())
    assert find_release(lighthouse, root=tmp_path) == second.folder
    page = (second.folder / "report.html").read_text(encoding="utf-8")
    assert "is not worse than" in page and "no difference" in page


def test_a_release_tells_what_is_true_of_its_answers_and_lists_the_wrong_ones(make: Release) -> None:
    folder = make().folder
    truth = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["scores"]["truth"]
    assert set(truth) == {"reworded", "unseen"}
    for columns in truth.values():
        assert list(columns) == ["base", "tuned", "tuned + evidence", "tuned + evidence + check"]
        for figures in columns.values():
            told = sum(figures[v] for v in ("supported", "unsupported", "contradicted", "does_not_know", "offered"))
            assert told == pytest.approx(1, abs=0.001)
            assert sum(f["questions"] for f in figures["by_language"].values()) == figures["questions"]
        assert columns["tuned + evidence"]["curated"] == 0
    with (folder / "wrong_answers.csv").open(encoding="utf-8", newline="") as file:
        wrong = list(csv.DictReader(file))
    assert wrong and {w["check"] for w in wrong} <= {"unsupported", "contradicted"}
    assert all(w["said"] != w["museum"] for w in wrong)
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "Is it true?" in page and "Every wrong answer that visitors would hear" in page


def test_a_merged_adapter_is_not_measured_anew(make: Release, finished: Finished) -> None:
    scores = {"tuned": finished.result["scores"]["tuned"]}
    folder = make(result={**finished.result, "scores": scores}).folder
    assert json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["scores"]["truth"] == {}


def test_a_worse_candidate_is_kept_and_not_served(
    make: Release, untrained: tuple[Path, dict[str, Any]], lighthouse: Topic, tmp_path: Path
) -> None:
    first, worse = make(), make(*untrained)
    assert not worse.judgement.promote
    assert find_release(lighthouse, root=tmp_path) == first.folder
    assert worse.judgement.why.startswith(f"It is worse than the live release {first.folder.name} beyond what chance")
    assert f"`make promote TOPIC=lighthouse RELEASE={worse.folder.name}`" in worse.judgement.why
    assert "make promote" in (worse.folder / "report.html").read_text(encoding="utf-8")
    kept = next(one for one in list_releases(lighthouse, tmp_path) if one.name == worse.folder.name)
    assert kept.manifest and kept.manifest.judged["promote"] is False and not kept.fault
    # Against the model that learned nothing, the one that did is better.
    promote(lighthouse, worse.folder.name, root=tmp_path)
    again = make()
    assert again.judgement.promote and again.judgement.measures[0].low > 0


def test_a_difference_within_chance_holds_nothing_back() -> None:
    assert not Measure("x", 30, 0.5, 0.53, -0.12, 0.06).worse
    assert Measure("x", 30, 0.5, 0.9, -0.55, -0.25).worse


def test_what_one_was_taught_and_the_other_was_not_is_not_asked(
    make: Release, finished: Finished, lighthouse: Topic
) -> None:
    make(result={**finished.result, "everything": True})  # taught the held-out wordings, by its manifest
    second = make()
    assert second.judgement.asked == "taught to both"


def test_without_parity_nothing_goes_live(make: Release, finished: Finished, lighthouse: Topic, tmp_path: Path) -> None:
    made = make(result={**finished.result, "parity": {"prompts": 20, "same": 15, "excused": 2}})
    assert not made.judgement.promote and live_name(made.folder.parent) is None
    assert "17 of 20 prompts" in made.judgement.why
    with pytest.raises(ReleaseError, match="such a release is never served"):
        promote(lighthouse, made.folder.name, root=tmp_path)


class Parrot:
    """Stands for a service: reads as the tokenizer in the release does, and says one thing to everything."""

    def __init__(self, topic: Topic, release: Path, *, deaf: bool = False) -> None:
        self.topic, self.tokenizer, self.deaf = topic, load_tokenizer(str(release / "weights")), deaf

    def prompt_ids(self, question: str, lang: str) -> list[int]:
        [row] = [r for r in self.topic.rows() if r.lang == lang and question in r.wordings()]
        asked = Asked(question, row, row.answer, lang, evidence=() if self.deaf else (row.answer,))
        return rendered(self.tokenizer, self.topic, [asked])[0]

    def says(self, question: str, lang: str) -> str:
        return "Squawk."


@pytest.mark.parametrize(
    ("deaf", "said", "listed"),
    [
        (False, "20 of 20 prompts as training does and answers 0 of them", "Squawk."),
        (True, "reads 0 of 20", "the prompt"),
    ],
)
def test_what_the_service_answers_otherwise_is_never_served(
    make: Release, finished: Finished, lighthouse: Topic, tmp_path: Path, deaf: bool, said: str, listed: str
) -> None:
    @contextlib.contextmanager
    def serve(topic: Topic, folder: Path, log: Path) -> Iterator[Speaks]:
        assert (folder / "manifest.json").is_file() and folder.name.startswith(".building")
        yield Parrot(topic, folder, deaf=deaf)

    made = make(shutil.copytree(finished.folder, tmp_path / "run"), serve=serve)
    assert not made.judgement.promote and said in made.judgement.why
    page = (made.folder / "report.html").read_text(encoding="utf-8")
    assert "Does it answer alike everywhere?" in page and listed in page
    with pytest.raises(ReleaseError, match="the service does not answer as its weights do .* never served"):
        promote(lighthouse, made.folder.name, root=tmp_path)


def test_a_candidate_that_cannot_be_tried_waits_for_the_curator(
    make: Release, finished: Finished, lighthouse: Topic, tmp_path: Path
) -> None:
    def serve(topic: Topic, folder: Path, log: Path) -> Any:
        raise ServedError("its engine cannot load these weights here")

    made = make(shutil.copytree(finished.folder, tmp_path / "run"), serve=serve)
    assert not made.judgement.promote and "its engine cannot load these weights here" in made.judgement.why
    assert promote(lighthouse, made.folder.name, root=tmp_path) == made.folder


def test_a_near_tie_is_found_at_the_first_token_that_differs(finished: Finished, lighthouse: Topic) -> None:
    weights = str(finished.folder / "weights")
    merged, tokenizer = load_base(weights, torch.bfloat16).eval(), load_tokenizer(weights)
    [asked] = parity_sample(split(lighthouse, lighthouse.rows(), finished.recipe.data, seed=7), 1, seed=3)
    service = Parrot(lighthouse, finished.folder)
    for epsilon, excused in ((0.0, 0), (1e9, 1)):
        found = compare_served(merged, tokenizer, lighthouse, [asked], service, epsilon=epsilon)
        assert (found.read, found.same, found.excused) == (1, 0, excused) and found.holds == bool(excused)
    [drift] = found.drift
    assert drift.served == "Squawk." and drift.gap is not None and drift.gap > 0


def test_a_live_release_that_cannot_be_served_holds_nothing_back(make: Release) -> None:
    first = make()
    manifest = first.folder / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "prompt_fingerprint": "0" * 16}))
    second = make()
    assert second.judgement.promote and "can no longer be served" in second.judgement.why


def stand_ins(release: Path, root: Path, *names: str) -> None:
    for name in names:
        shutil.copytree(release, root / "lighthouse" / name)
        make_live(root / "lighthouse" / name)


def test_a_rollback_undoes_a_promotion_and_itself(lighthouse: Topic, stand_in_release: Path, tmp_path: Path) -> None:
    stand_ins(stand_in_release, tmp_path, "1", "2", "3")
    assert promote(lighthouse, "1", root=tmp_path).name == "1"
    assert roll_back(lighthouse, root=tmp_path).name == "3"
    assert roll_back(lighthouse, root=tmp_path).name == "1"
    assert promote(lighthouse, "1", root=tmp_path).name == "1"  # once more changes nothing, not even what was before
    assert roll_back(lighthouse, root=tmp_path).name == "3"
    listed = {one.name: one for one in list_releases(lighthouse, tmp_path)}
    assert [n for n, one in listed.items() if one.since] == ["3"]
    assert [n for n, one in listed.items() if one.previous] == ["1"]


def test_what_cannot_be_served_is_not_promoted(lighthouse: Topic, stand_in_release: Path, tmp_path: Path) -> None:
    stand_ins(stand_in_release, tmp_path, "1")
    with pytest.raises(ReleaseError, match="there is no release to go back to"):
        roll_back(lighthouse, root=tmp_path)
    with pytest.raises(ReleaseError, match="there is no such release"):
        promote(lighthouse, "7", root=tmp_path)
    with pytest.raises(ReleaseError, match="not one of the topic's releases; copy it into"):
        promote(lighthouse, str(stand_in_release), root=tmp_path)
    unfinished = tmp_path / "lighthouse" / "2"
    shutil.copytree(stand_in_release, unfinished)
    (unfinished / "manifest.json").unlink()
    with pytest.raises(ReleaseError, match="no manifest.json"):
        promote(lighthouse, "2", root=tmp_path)
    assert live_name(tmp_path / "lighthouse") == "1"
    assert "no manifest.json" in {one.name: one.fault for one in list_releases(lighthouse, tmp_path)}["2"]


def test_the_commands_say_what_is_missing(tmp_path: Path) -> None:
    topic = tmp_path / "nowhere"
    shutil.copytree(LIGHTHOUSE, topic)
    text = (topic / "topic.toml").read_text(encoding="utf-8").replace('id = "lighthouse"', 'id = "nowhere"')
    (topic / "topic.toml").write_text(text, encoding="utf-8")
    for command, code, words in (
        (["releases"], 0, "no release yet; run `make train-adapter TOPIC=nowhere`"),
        (["promote", "--release", "1"], 2, "there is no such release"),
        (["rollback"], 2, "there is no release to go back to"),
    ):
        line = [sys.executable, "-m", "training", *command, "--topic", str(topic)]
        done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == code and words in done.stdout + done.stderr
