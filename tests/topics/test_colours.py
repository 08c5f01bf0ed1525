"""A museum's own colours: measured, and refused with what to change where people could not read."""

import re
from pathlib import Path

import pytest

from tests.conftest import ROOT
from topics import colours
from topics.colours import TEXT_CONTRAST, Colours, contrast
from topics.errors import TopicError
from topics.topic import load_topic

TOPIC = 'id = "x"\ntitle = "X"\nlanguages = ["en"]\n[colours]\n'


def test_contrast_is_wcags() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#777777") == 1
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.01)


def test_the_shipped_colours_can_be_read() -> None:
    assert contrast(Colours().primary, "#ffffff") >= TEXT_CONTRAST


@pytest.mark.parametrize(
    ("colour", "says"),
    [
        ('primary = "#d98c00"', "white text on primary (#ffffff on #d98c00) has a contrast of 2.7 and needs 4.5"),
        ('accent = "#4f9aa0"', "accent text on white (#4f9aa0 on #ffffff) has a contrast of 3.2"),
        ('background = "#303030"', "primary text on background"),
        ('primary = "red"', "string should match pattern"),
        ('ink = "#000000"', "colours.ink: extra inputs are not permitted"),
    ],
)
def test_what_cannot_be_read_is_refused(tmp_path: Path, colour: str, says: str) -> None:
    (tmp_path / "topic.toml").write_text(TOPIC + colour, encoding="utf-8")
    with pytest.raises(TopicError) as refused:
        load_topic(tmp_path)
    assert says in str(refused.value) and "topic.toml" in str(refused.value)


def test_what_is_measured_is_what_the_screen_draws() -> None:
    style = (ROOT / "ui" / "static" / "style" / "page.css").read_text(encoding="utf-8")
    drawn = dict(re.findall(r"--k-(\w+): (#[0-9a-f]{6});", style))
    assert (drawn["ink"], drawn["muted"], drawn["line"], drawn["answer"], drawn["surface"]) == (
        colours._INK, colours._MUTED, colours._LINE, colours._ANSWER, colours._WHITE,
    )  # fmt: skip
    assert {"primary": drawn["primary"], "accent": drawn["accent"], "background": drawn["bg"]} == Colours().model_dump()


def test_a_museum_may_choose_its_own(tmp_path: Path) -> None:
    (tmp_path / "topic.toml").write_text(TOPIC + 'primary = "#1b3a6b"', encoding="utf-8")
    assert load_topic(tmp_path).colours.primary == "#1b3a6b"
