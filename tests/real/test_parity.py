"""Adapter, merged weights and the service with its real engine: the same prompts, the same answers."""

import functools
import json
import os
import shutil
from pathlib import Path

import pytest

from tests.conftest import Finished
from topics.release import check_release, live_name
from topics.topic import Topic
from training.errors import ServedError
from training.release import release
from training.run import RunFolder
from training.served import serving

pytestmark = pytest.mark.timeout(400)


def test_a_candidate_answers_as_a_service_as_it_did_in_training(
    finished: Finished, lighthouse: Topic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCENT_RELEASE", "of-somebody-else")
    run = RunFolder(shutil.copytree(finished.folder, tmp_path / "run"))
    serve = functools.partial(serving, environ=os.environ)
    rows = lighthouse.rows()
    made = release(lighthouse, finished.recipe, run, rows, finished.result, tmp_path, serve=serve)
    assert made.judgement.promote and live_name(made.folder.parent) == made.folder.name
    served = check_release(lighthouse, made.folder).scores["served"]
    assert served["prompts"] == served["read"] == served["same"] + served["excused"] == 20
    assert len(served["drift"]) == served["excused"]
    assert json.loads(run.result.read_text(encoding="utf-8"))["served"] == served
    assert "service beside the merged weights" in (made.folder / "report.html").read_text(encoding="utf-8")


def test_a_release_that_cannot_be_served_says_why(lighthouse: Topic, stand_in_release: Path, tmp_path: Path) -> None:
    log = tmp_path / "served.log"
    strange = lighthouse.model_copy(update={"folder": lighthouse.folder.parent})
    with pytest.raises(ServedError, match="ended at once: service: .*; see .*served.log"):
        with serving(strange, stand_in_release, log, environ=os.environ):
            raise AssertionError("there is no topic there")
    with pytest.raises(ServedError, match="its engine cannot load these weights here; see .*served.log"):
        with serving(lighthouse, stand_in_release, log, environ=os.environ):
            raise AssertionError("there are no weights there")
