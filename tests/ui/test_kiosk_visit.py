"""A visit: what it remembers, what it tells the service, and what every kind of ending looks like."""

from __future__ import annotations

import pytest

from tests.ui.service_double import SUGGESTIONS, texts
from tests.ui.service_double import topic as topic_body
from ui.client import Delta, Done, Replace, Source, Topic
from ui.drawing import conversation
from ui.errors import ServiceRefused, ServiceUnreachable
from ui.visit import HISTORY, End, Mail, Stop, Visit


@pytest.fixture
def visit() -> Visit:
    return Visit.begin(Topic.model_validate(topic_body()))


def done(answer: str = "In 1890.", **more: object) -> Done:
    return Done.model_validate({"id": "7", "outcome": "answered", "answer": answer, **more})


def test_a_visit_begins_in_the_first_language_with_its_suggestions(visit: Visit) -> None:
    assert (visit.language, visit.chips, visit.busy) == ("en", tuple(SUGGESTIONS["en"]), False)


def test_the_finished_answer_counts_and_brings_the_next_chips(visit: Visit) -> None:
    visit.ask("When?")
    assert visit.take(Delta(text="In 18")) and visit.take(Replace(text="It ")) and visit.take(Delta(text="was"))
    assert visit.turns[-1].answer == "It was"
    sources = (Source(id="b", title="Birth"), Source(id="n", title="Names"), Source(id="c", title="Birth"))
    assert not visit.take(done(suggestions=["Where?"], sources=sources))
    assert (visit.turns[-1].answer, visit.turns[-1].sources) == ("In 1890.", sources[:2])
    assert visit.chips == ("Where?",)


def test_only_the_last_whole_answers_are_told(visit: Visit) -> None:
    for n in range(HISTORY + 2):
        visit.ask(f"q{n}")
        visit.take(done(f"a{n}"))
    visit.ask("stopped")
    visit.take(Stop())
    visit.ask("failed")
    visit.take(End())
    assert [turn.question for turn in visit.history()] == [f"q{n}" for n in range(2, HISTORY + 2)]


@pytest.mark.parametrize("mail", [End(), ServiceUnreachable("gone"), ServiceRefused(503)])
def test_a_failure_is_a_sentence_of_the_topic(visit: Visit, mail: Mail) -> None:
    visit.ask("When?")
    visit.take(Delta(text="In 18"))
    assert not visit.take(mail)
    assert visit.turns[-1].answer == texts("en")["resting"]


def test_a_failure_may_bring_questions_that_work(visit: Visit) -> None:
    visit.ask("When?")
    visit.take(ServiceRefused(503, ("Where?",)))
    assert visit.chips == ("Where?",)


def test_only_a_long_question_is_called_long(visit: Visit) -> None:
    visit.ask("x" * 299)
    visit.take(ServiceRefused(422))
    assert visit.turns[-1].answer == texts("en")["too_long"]
    visit.ask("x")
    visit.take(ServiceRefused(422))
    assert visit.turns[-1].answer == texts("en")["resting"]


def test_another_language_stops_a_running_answer_and_keeps_what_was_said(visit: Visit) -> None:
    inbox = visit.ask("When?")
    visit.take(Delta(text="In 18"))
    visit.speak("vi")
    assert isinstance(inbox.get_nowait(), Stop)
    assert (visit.language, visit.chips, visit.turns[-1].language) == ("vi", tuple(SUGGESTIONS["vi"]), "en")
    visit.take(done(suggestions=["Where?"]))
    assert visit.chips == tuple(SUGGESTIONS["vi"]), "no English chip on a Vietnamese screen"


def test_a_language_the_topic_has_not_is_ignored(visit: Visit) -> None:
    visit.speak("xx")
    assert visit.language == "en"


@pytest.mark.parametrize(("outcome", "rated"), [("answered", "7"), ("declined", ""), ("unsure", ""), ("visit", "")])
def test_only_an_answer_can_be_rated(visit: Visit, outcome: str, rated: str) -> None:
    visit.ask("When?")
    visit.take(done(outcome=outcome))
    assert visit.turns[-1].id == rated


def test_where_nobody_takes_thumbs_none_are_shown() -> None:
    for taken in (True, False):
        visit = Visit.begin(Topic.model_validate(topic_body() | {"feedback": taken}))
        visit.ask("When?")
        visit.take(done())
        assert ("k-thumb" in conversation(visit)[1]["content"]) is taken
