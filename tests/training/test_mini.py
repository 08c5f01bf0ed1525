"""The maker of the base model: it runs from any folder of text, and says when there is none."""

from pathlib import Path

import pytest

from training.mini import make


def test_it_makes_a_model_from_a_folder_of_text(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    keepers, places = (
        ("first", "second", "third", "fourth", "fifth"),
        ("granite", "wooden", "painted", "ruined", "lonely"),
    )
    pairs = [(keeper, place) for keeper in keepers for place in places]
    lines = [
        f"The {keeper} keeper of the {place} lighthouse walked slowly along the northern shore in {1800 + i}."
        for i, (keeper, place) in enumerate(pairs)
    ]
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "harbour.txt").write_text("\n".join(lines), encoding="utf-8")
    make(tmp_path / "text", tmp_path / "out", steps=3, vocab_size=400, batch=2, exercises=2)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert len(tokenizer) <= 400 and tokenizer.chat_template


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no \\*.txt files"):
        make(tmp_path, tmp_path / "out")
