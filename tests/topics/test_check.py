"""Does an answer agree with the museum's words?"""

import pytest

from topics.check import check, names, numbers
from topics.questions import Row

BIRTH = Row(id="b", question="When?", answer="He was born on 19 May 1890 in Nghe An province.", key=("1890", "Nghe An"))


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        ("He was born on 19 May 1890 in Nghe An province.", "supported"),
        ("He was born in Nghệ An on May 19, 1890.", "supported"),
        ("He was born on February 108, 1890 in Nghe An.", "contradicted"),
        ("He was born on 19 May 1891 in Nghe An.", "contradicted"),
        ("He was born in Nghe An in 1890 and had 3 cats as well as 19 May.", "unsupported"),
        ("He was born on 19 May 1890 in Hue.", "unsupported"),
        ("He was born on 19 May 1890 in Nghe An, near Paris.", "unsupported"),
        ("", "unsupported"),
    ],
)
def test_verdicts(answer: str, verdict: str) -> None:
    assert check(answer, BIRTH) == verdict


def test_dates_are_the_same_in_any_spelling() -> None:
    assert (
        numbers("19 May 1890") == numbers("May 19, 1890") == numbers("ngày 19 tháng 5 năm 1890") == {"19", "m5", "1890"}
    )


def test_a_word_that_looks_like_a_month_is_not_one() -> None:
    assert numbers("He may have met 3 men") == {"3"}


def test_names_begin_inside_a_sentence() -> None:
    assert names("The tower was built by Ada Finch. It stands.") == {"ada", "finch"}
