"""Questions for the next fit: labels a curator gives to what visitors asked, and proposed near-misses."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from gatekeeper.filter import GateError, TopicFilter
from topics.questions import LABELLED, Labelled, OffTopic, read_labelled, scan
from topics.text import comparable
from topics.topic import Topic

_KEYS = {"o": "topic", "n": "off", "v": "visit", "g": "greeting", "a": "attack"}
_PROMPT = "[o]urs  [n]ot ours  [v]isit  [g]reeting  [a]ttack  [s]kip  [q]uit > "
_TASKS = (
    "write a poem about {title}",
    "translate a text about {title} into German",
    "make an advert with {title} in it",
    "do my homework on {title}",
    "give me five search terms for a slide show on {title}",
    "draw {title} as a cartoon",
    "what does a ticket to {title} airport cost",
    "is there a hotel in {title} Street",
    "which football club is called {title}",
    "how old is the band {title}",
)
_BEFORE_PLACES = frozenset("in at the to from near of around through into".split())
_PEERS = 25


def label(
    topic: Topic, file: Path, gate: TopicFilter | None = None, ask: Callable[[str], str] = input
) -> Iterator[Labelled]:
    """Asks what each question of `file` is and adds it to the topic's `labelled.jsonl`, which the next fit reads.

    `file` holds lines of `{"question": "…"}`, such as `python -m service review` writes; a line that has a `kind`
    already is taken as it is. Every answer is written at once, so that stopping loses nothing; questions
    labelled before are not asked again. Raises GateError naming file and line.
    """
    asked, faults = _questions(file)
    if faults:
        raise GateError(faults[0])
    out = topic.folder / LABELLED
    known = {comparable(line.question) for line in read_labelled(out)}
    for question, kind, lang in asked:
        if comparable(question) in known:
            continue
        if kind is None:
            score = f"  (score {gate.decide(question).score:.2f})" if gate else ""
            key = ask(f"\n{question}{score}\n{_PROMPT}").strip().lower()[:1]
            if key == "q":
                return
            kind = _KEYS.get(key)
        if kind is None:
            continue
        line = Labelled.model_validate({"question": question, "kind": kind, "lang": lang})
        with out.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(line.model_dump(), ensure_ascii=False) + "\n")
        known.add(comparable(question))
        yield line


def _questions(file: Path) -> tuple[list[tuple[str, str | None, str]], list[str]]:
    """The questions of a file with their kinds and languages, and what is wrong with other lines."""
    found: list[tuple[str, str | None, str]] = []
    faults = []
    for number, line in enumerate(file.read_text(encoding="utf-8").split("\n"), 1):
        if not line.strip():
            continue
        try:
            item = json.loads(line)
            kind = item.get("kind") and str(item["kind"])
            found.append((str(item["question"]), kind, str(item.get("lang") or "en")))
        except (json.JSONDecodeError, KeyError, TypeError, AttributeError):
            faults.append(f'{file}:{number}: not a question; write {{"question": "…"}}, one object a line')
    return found, faults


def proposals(topic: Topic) -> Iterator[OffTopic]:
    """Near-misses to keep or drop: the museum's questions asked of other people, and tasks that name the subject.

    Other people (and places) are the capitalised names that the museum's articles and answers mention most.
    What is proposed stands in no file of the topic yet.
    """
    there, _ = scan(topic.folder / "near_misses.jsonl", OffTopic) if _has_near_misses(topic) else ([], [])
    known = {comparable(line.question) for _, line in there}
    language = topic.languages[0]
    title = topic.name(language)
    rows = [r for r in topic.rows() if r.lang == language and not r.held]
    texts = [r.answer for r in rows]
    texts += [p.read_text(encoding="utf-8") for p in sorted((topic.folder / "sources").glob("*.md"))]
    peers = _names(topic, texts)
    asked = [r.question for r in rows if title in r.question]
    swapped = (asked[i * 7 % len(asked)].replace(title, peer) for i, peer in enumerate(peers)) if asked else ()
    for question, about in [
        *((q, "peer") for q in swapped),
        *((task.format(title=title), "task") for task in _TASKS if language == "en"),
    ]:
        if comparable(question) not in known:
            yield OffTopic(question=question, lang=language, about=about)


def _has_near_misses(topic: Topic) -> bool:
    return (topic.folder / "near_misses.jsonl").is_file()


def _names(topic: Topic, texts: list[str]) -> list[str]:
    """People's names, as far as a pattern can tell: capitalised words, not the subject's, the most frequent first.

    What mostly stands after `in`, `at` or `the` is a place or a thing.
    """
    own = {w for name in (*topic.title.values(), *topic.aliases) for w in comparable(name).split()}
    counts: Counter[str] = Counter()
    places: Counter[str] = Counter()
    for text in texts:
        # A sentence's first word is capitalised anyway: names count from the second word on.
        for before, name in re.findall(
            r"([a-z,;]+) ([A-ZÀ-Þ]\w+(?: [A-ZÀ-Þ]\w+){1,2})", text.split("## References")[0]
        ):
            if not own & set(comparable(name).split()):
                counts[name] += 1
                places[name] += before in _BEFORE_PLACES
    people = [name for name, n in counts.most_common() if n > 2 * places[name]]
    return people[:_PEERS]
