"""Does an answer agree with the museum's words?"""

import pytest

from topics.check import FactCheck
from topics.claims import Date, claims, name_phrases
from topics.questions import Row
from topics.topic import Topic

BIRTH = Row(id="b", question="When?", answer="He was born on 19 May 1890 in Nghe An province.", key=("1890", "Nghe An"))
IN_VIETNAMESE = Row(id="b", lang="vi", question="Khi nào?", answer="Ông sinh ngày 19 tháng 5 năm 1890 tại Nghệ An.")
ROOMS = Row(id="r", question="How many rooms?", answer="It has three small rooms, near Hanoi.", key=("three",))
CHINESE = Row(id="b", lang="zh", question="何时？", answer="1890年5月19日生于义安。", key=("1890",))
OTHER = Row(id="o", question="Where?", answer="He went to Paris in 1917, and saw Paris again.", key=("Paris",))
ROWS = [BIRTH, IN_VIETNAMESE, ROOMS, CHINESE, OTHER]


@pytest.fixture
def facts(lighthouse: Topic) -> FactCheck:
    settings = {"names": ("义安", "河内"), "same": (("Hanoi", "Hà Nội", "Thang Long"),), "everywhere": ("Vietnam",)}
    return FactCheck(lighthouse.model_copy(update=settings), ROWS)


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        ("He was born on 19 May 1890 in Nghe An province.", "supported"),
        ("He was born in Nghệ An on May 19, 1890.", "supported"),
        ("It was in Nghe An, on 19/5/1890.", "supported"),
        ("Nghe An, 1890.", "supported"),
        ("He was born on February 108, 1890 in Nghe An.", "contradicted"),
        ("He was born on 19 May 1891 in Nghe An.", "contradicted"),
        ("He was born on 19 June 1890 in Nghe An.", "contradicted"),
        ("He was born on 18 May 1890 in Nghe An.", "contradicted"),
        ("He was born in Nghe An in 1890 and had 3 cats as well as 19 May.", "unsupported"),
        ("He was born on 19 May 1890 in Hue.", "contradicted"),
        ("He was born on 19 May 1890 in Nghe An, near Paris.", "unsupported"),
        ("Paris is near Nghe An; he was born in 1890.", "unsupported"),
        ("Born in Nghe An, Vietnam, on 19 May 1890.", "supported"),
        ("He was born on 19 May 1890.", "unsupported"),
        ("", "unsupported"),
    ],
)
def test_verdicts(facts: FactCheck, answer: str, verdict: str) -> None:
    assert facts.answer(answer, BIRTH) == verdict


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        ("It has 3 small rooms, near Ha Noi.", "supported"),
        ("It has three rooms, near Thang Long.", "supported"),
        ("The two of us counted three rooms.", "supported"),
        ("It has two small rooms.", "contradicted"),
        ("It has four small rooms.", "contradicted"),
    ],
)
def test_small_numbers_count_in_words_and_digits(facts: FactCheck, answer: str, verdict: str) -> None:
    assert facts.answer(answer, ROOMS) == verdict


@pytest.mark.parametrize(
    ("answer", "verdict"), [("他生于义安，1890年。", "supported"), ("他1890年生于河内。", "unsupported")]
)
def test_a_script_without_capitals_has_its_names_listed(facts: FactCheck, answer: str, verdict: str) -> None:
    assert facts.answer(answer, CHINESE) == verdict


def test_the_museums_country_may_not_stand_in_for_a_name(facts: FactCheck) -> None:
    assert facts.answer("He went to Paris, far from Vietnam, in 1917.", OTHER) == "supported"
    assert facts.answer("He went to Vietnam in 1917.", OTHER) == "contradicted"


def test_a_part_need_not_hold_what_the_whole_must(facts: FactCheck) -> None:
    assert facts.part("He was born in the spring.", BIRTH) == "supported"
    assert facts.part("He was born in the spring of 1912.", BIRTH) == "contradicted"
    assert facts.part("He was born in Paris.", BIRTH) == "unsupported"


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("19 May 1890", "en"),
        ("May 19, 1890", "en"),
        ("the 19th of May, 1890", "en"),
        ("19/5/1890", "fr"),
        ("1890-05-19", "en"),
        ("le 19 mai 1890", "fr"),
        ("19 de mayo de 1890", "es"),
        ("ngày 19 tháng 5 năm 1890", "vi"),
        ("ngày 19 tháng Năm năm 1890", "vi"),
        ("1890年5月19日", "zh"),
        ("一八九〇年五月十九日".replace("一八九〇", "1890"), "zh"),
    ],
)
def test_a_date_is_the_same_in_any_spelling(text: str, language: str) -> None:
    found = claims(text, language)
    assert found.dates == {Date(19, 5, 1890)}
    assert found.numbers == {"19", "m5", "1890"}


@pytest.mark.parametrize(
    ("text", "language", "numbers"),
    [
        ("one hundred and thirty poems, twenty-one guns", "en", {"130", "21"}),
        ("He may have met 3 men", "en", {"3"}),
        ("two or three", "en", {"2", "3"}),
        ("12,000 or 12.000 men, 3.5 metres", "en", {"12000", "3.5"}),
        ("soixante-dix-neuf ans, quatre-vingt-quinze", "fr", {"79", "95"}),
        ("treinta y dos años", "es", {"32"}),
        ("hai mươi mốt người, mười ngày", "vi", {"21", "10"}),
        ("năm 1890, năm ấy", "vi", {"1890"}),
        ("ông Văn Ba", "vi", set()),
        ("一百三十首诗，三十五岁", "zh", {"35"}),
        ("十分好", "zh", set()),
    ],
)
def test_numbers_in_words(text: str, language: str, numbers: set[str]) -> None:
    assert claims(text, language).numbers == numbers


def test_names_begin_inside_a_sentence_or_are_known() -> None:
    text = "The tower was built by Ada Finch in May. Paris stands; Dr Reed says “Come in”."
    assert name_phrases(text, "en", {"paris"}) == [["ada", "finch"], ["paris"], ["reed"]]
