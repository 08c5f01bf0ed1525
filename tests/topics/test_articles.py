"""The museum's articles: title, sections, passages."""

from pathlib import Path

from topics.articles import Passage, passage, read_articles


def test_a_fact_finds_its_passage(tmp_path: Path) -> None:
    ship = "# The ship\n\nWords before.\n\n## Life on board\n\nHard.\n\n## Đường về\n\nLong.\n"
    (tmp_path / "ship.md").write_text(ship, encoding="utf-8")
    (tmp_path / "bare.md").write_text("No title here.\n")
    articles = read_articles(tmp_path)
    assert passage(articles, "ship#life-on-board") == Passage("The ship", "Life on board", "Hard.")
    assert passage(articles, "ship#duong-ve") == Passage("The ship", "Đường về", "Long.")
    assert passage(articles, "ship") == passage(articles, "ship#nothing") == Passage("The ship", "", "")
    assert passage(articles, "bare") == Passage("bare", "", "")
    assert passage(articles, "missing#x") is None
    assert read_articles(tmp_path / "nowhere") == {}
