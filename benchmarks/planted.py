"""Does the fact check find one planted error, and leave right answers in other words alone?

  python benchmarks/planted.py --topic topics/ho_chi_minh

300 of the museum's answers with one date, number, name or place changed to another of the museum's own texts; and 300
right answers in other words: those of `rephrased-<topic>.jsonl`, written by hand, widened with what changes no meaning
(dates in other forms, accents left out, digits and words, sentences in another order or left out, a word of politeness
in front). Then retrieval and check together with 10,000 facts, the museum's own repeated with other words and numbers.
Times are the processor's, which other programs on the machine lengthen less. The check is asked through
`python -m topics check`.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import re
import subprocess
import sys
import tempfile
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"
COUNT = 300
FACTS = 10_000
TIMED = 2_000
MONTHS = {
    "en": "January February March April May June July August September October November December".split(),
    "fr": "janvier février mars avril mai juin juillet août septembre octobre novembre décembre".split(),
    "es": "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre".split(),
    "vi": [f"tháng {n}" for n in range(1, 13)],
    "zh": [f"{n}月" for n in range(1, 13)],
}
WORDS = {
    "en": "two three four five six seven eight nine ten eleven twelve".split(),
    "fr": "deux trois quatre cinq six sept huit neuf dix onze douze".split(),
    "es": "dos tres cuatro cinco seis siete ocho nueve diez once doce".split(),
    "vi": ["hai", "ba", "bốn", "năm", "sáu", "bảy", "tám", "chín", "mười", "mười một", "mười hai"],
}
"""From two on."""
POLITE = {
    "en": ["Good question! ", "I am glad to tell you: ", "With pleasure. "],
    "fr": ["Bonne question ! ", "Avec plaisir. "],
    "es": ["¡Buena pregunta! ", "Con mucho gusto. "],
    "vi": ["Câu hỏi hay quá! ", "Dạ, xin thưa: "],
    "zh": ["问得好！", "很高兴为您介绍。"],
}
Row = dict[str, Any]


def plain(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text.replace("đ", "d").replace("Đ", "D"))
    return "".join(c for c in decomposed if not unicodedata.combining(c))


def holds(text: str, key: str) -> bool:
    return plain(key).lower() in plain(text).lower()


def months(lang: str) -> str:
    return "|".join(sorted(map(re.escape, MONTHS[lang]), key=len, reverse=True))


# -- one error ---------------------------------------------------------------------------------------------------------


def names_in(text: str) -> list[str]:
    """Runs of capitalised words that do not begin a sentence."""
    found, run, opens = [], [], True
    for word in [*text.split(" "), ""]:
        bare = word.strip("\"“”«»‘’'(),;:.!?…")
        if bare[:1].isupper() and len(bare) > 1:
            run = [*run, (bare, opens)]
        if not bare[:1].isupper() or word[-1:] in '.,;:!?)…»”"':
            if run and not run[0][1]:
                found.append(" ".join(w for w, _ in run))
            run = []
        opens = word[-1:] in ".:!?…" or not word
    return [n for n in found if n in text and len(n) > 2 and "." not in n]


class Museum:
    """What stands in the museum's own texts, by language, to plant instead of something else."""

    def __init__(self, rows: list[Row], own_names: list[str]) -> None:
        self.years: dict[str, list[str]] = defaultdict(list)
        self.names: dict[str, list[str]] = defaultdict(list)
        own = {plain(n).lower() for n in own_names}
        capital = {r["id"] for r in rows if r["lang"] == "en" and r["key"] and r["key"][0][:1].isupper()}
        for row in rows:
            lang, text = row["lang"], row["answer"]
            self.years[lang] += re.findall(r"(?<!\d)(?:1[6-9]|20)\d\d(?!\d)", text)
            found = names_in(text)
            if lang == "zh":  # a key is a name where its translation begins with a capital
                found = [k for k in row["key"] if row["id"] in capital and not re.search(r"[\d《语人者]", k)]
            self.names[lang] += [
                n for n in found if n not in MONTHS[lang] and not any(f" {o} " in f" {plain(n).lower()} " for o in own)
            ]


def planted(row: Row, museum: Museum, chance: random.Random) -> tuple[str, str] | None:
    """The row's answer with one error, and of which kind; None where this draw finds nothing to change."""
    lang, text = row["lang"], row["answer"]
    kind = chance.choice(["year", "month", "day", "number", "name", "name"])
    month = months(lang)
    if kind == "year":
        return swap(text, r"(?<!\d)(?:1[6-9]|20)\d\d(?!\d)", museum.years[lang], chance, "date")
    if kind == "month":
        pattern = rf"(?<!\d)(?:{month})" if lang == "zh" else rf"(?<!\w)(?:{month})(?![^\W\d])"
        return swap(text, pattern, MONTHS[lang], chance, "date")
    if kind == "day":
        days = [str(n) for n in range(2, 29)]
        before, after = rf"(?<!\d)\d{{1,2}}(?=(?: de)? (?:{month})\b)", r"(?<=月)\d{1,2}(?=日)"
        return swap(text, after if lang == "zh" else before, days, chance, "date")
    if kind == "number":
        number = r"(?<![\d.,/-])\d{1,3}(?![\d.,/-])"
        rest = re.sub(rf"\d+(?= (?:de )?(?:{month}))|(?:{month})|\d+[日月年]", lambda m: "#" * len(m[0]), text)
        if digits := re.search(number, rest):
            new = str(int(digits[0]) + chance.choice([-3, -2, -1, 1, 2, 3, 5, 10]))
            bad = int(new) < 2 or re.search(rf"(?<!\d){new}(?!\d)", text)
            return None if bad else (text[: digits.start()] + new + text[digits.end() :], "number")
        words = [w for w in WORDS.get(lang, []) if w not in ("năm", "neuf", "chín")]  # a year, new, ripe
        return swap(text, rf"(?<!\w)(?:{'|'.join(words)})(?!\w)", words, chance, "number") if words else None
    there = [n for n in museum.names[lang] if n in text and (lang == "zh" or n in names_in(text))]
    if not there:
        return None
    old = chance.choice(there)
    alike = [n for n in museum.names[lang] if len(n.split()) == len(old.split())]
    pattern = re.escape(old) if lang == "zh" else rf"(?<!\w){re.escape(old)}(?!\w)"
    return swap(text, pattern, alike, chance, "name or place")


def swap(text: str, pattern: str, pool: list[str], chance: random.Random, kind: str) -> tuple[str, str] | None:
    found = list(re.finditer(pattern, text))
    if not found or not pool:
        return None
    old, new = chance.choice(found), chance.choice(pool)
    # What stands in the answer already would often still be true.
    if new in text if re.search("[\u3400-\u9fff]", text) else re.search(rf"(?<!\w){plain(new)}(?!\w)", plain(text)):
        return None
    return text[: old.start()] + new + text[old.end() :], kind


# -- other words ------------------------------------------------------------------------------------------------------


def other_dates(text: str, lang: str, chance: random.Random) -> str:
    """Every whole date in another form of the language."""
    short = chance.choice(["{d}/{m}/{y}", "{d:02}/{m:02}/{y}", "{y}-{m:02}-{d:02}"])
    forms = {
        "en": "{name} {d}, {y}",
        "fr": "{d} {name} {y}",
        "es": "{d} de {name} de {y}",
        "vi": "{d} tháng {m} năm {y}",
    }
    form = chance.choice([short, forms.get(lang, "{y}年{m}月{d}日")])
    names, month = MONTHS[lang], months(lang)

    def whole(day: str, name: str, year: str) -> str:
        number = names.index(name) + 1
        return form.format(d=int(day), m=number, y=int(year), name=names[number - 1])

    if lang == "zh":
        return re.sub(rf"(\d{{4}})年({month})(\d+)日", lambda m: whole(m[3], m[2], m[1]), text)
    text = re.sub(rf"(?<!\w)({month}) (\d{{1,2}}), (\d{{4}})", lambda m: whole(m[2], m[1], m[3]), text)
    gap = {"es": " de ", "vi": " năm "}.get(lang, " ")
    return re.sub(rf"(?<!\d)(\d{{1,2}}){gap if lang == 'es' else ' '}({month}){gap}(\d{{4}})",
                  lambda m: whole(m[1], m[2], m[3]), text)  # fmt: skip


def no_accents(text: str, lang: str, chance: random.Random) -> str:
    return text if lang == "zh" else plain(text)


def digits_and_words(text: str, lang: str, chance: random.Random) -> str:
    """Small numbers in digits become words, and those in words digits; dates and what has a mark stay."""
    words = WORDS.get(lang, []) if lang != "vi" else []  # five and year are one word there
    small = r"(?<![\w/.,-])([2-9]|1[0-2])(?= [^\W\d_A-Z]{3,})(?! (?:de )?(?:" + months(lang) + "))"
    if words and re.search(small, text):
        return re.sub(small, lambda m: words[int(m[1]) - 2], text)
    clear = [w for w in words if w not in ("neuf", "sept")]
    pattern = rf"(?<![\w-])({'|'.join(clear)})(?= [^\W\d_A-Z]{{3,}})(?! (?:and|or|or more|{'|'.join(words)}))"
    return re.sub(pattern, lambda m: str(words.index(m[1]) + 2), text) if words else text


def sentences(text: str) -> list[str]:
    return [s for s in re.split(r"(?<=[.!?]) (?=[A-ZÀ-Ỹ¿¡\"«])|(?<=[。！？])", text) if s]


def turned_round(text: str, lang: str, chance: random.Random) -> str:
    return ("" if lang == "zh" else " ").join(reversed(sentences(text)))


def shortened(text: str, lang: str, chance: random.Random) -> str:
    parts = sentences(text)
    if len(parts) > 1:
        parts.remove(chance.choice(parts))
    return ("" if lang == "zh" else " ").join(parts)


def polite(text: str, lang: str, chance: random.Random) -> str:
    return chance.choice(POLITE[lang]) + text


WAYS: list[Callable[[str, str, random.Random], str]] = [
    other_dates, no_accents, digits_and_words, turned_round, shortened, polite,
]  # fmt: skip


def reworded(written: Row, key: list[str], chance: random.Random) -> str:
    """A hand-written answer, widened in one to three ways."""
    text: str = written["answer"]
    for way in chance.sample(WAYS, chance.randint(0, 3)):
        new = way(text, written["lang"], chance)
        if way is not shortened or all(holds(new, k) for k in key):
            text = new
    return text


# -- asking ------------------------------------------------------------------------------------------------------------


def verdicts(topic: Path, lines: list[Row]) -> list[Row]:
    asked = "\n".join(json.dumps(line, ensure_ascii=False) for line in lines)
    command = [sys.executable, "-m", "topics", "check", "--topic", str(topic)]
    done = subprocess.run(command, input=asked, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def many(topic: Path, rows: list[Row], folder: Path, chance: random.Random) -> Path:
    """A topic of `FACTS` facts: the museum's own, repeated with every tenth word and every number another one."""
    made = folder / topic.name
    made.mkdir()
    (made / "topic.toml").write_text((topic / "topic.toml").read_text(encoding="utf-8"), encoding="utf-8")
    vocabulary = {lang: " ".join(r["answer"] for r in rows if r["lang"] == lang).split() for lang in MONTHS}

    def varied(text: str, lang: str) -> str:
        said = [chance.choice(vocabulary[lang]) if chance.random() < 0.1 else w for w in text.split()]
        return re.sub(r"\d+", lambda m: str(int(m[0]) + chance.randint(0, 9)), " ".join(said))

    with (made / "questions.jsonl").open("w", encoding="utf-8") as file:
        for number in range(FACTS):
            row = dict(rows[number % len(rows)])
            if number >= len(rows):
                row["id"] = f"{row['id']}_{number // len(rows)}"
                for field in ("question", "answer"):
                    row[field] = varied(row[field], row["lang"])
                row["paraphrases"] = [{**p, "text": varied(p["text"], row["lang"])} for p in row["paraphrases"]]
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    return made


def time_of_many(topic: Path, rows: list[Row], chance: random.Random) -> Row:
    """Processor time of finding the fact and checking an answer, one question after another."""
    with tempfile.TemporaryDirectory() as folder:
        made = many(topic, rows, Path(folder), chance)
        asked = [
            # With a word in front, for the museum's own wordings are found without a search.
            {
                "question": f"hm {chance.choice(row['paraphrases'])['text']}",
                "lang": row["lang"],
                "answer": row["answer"],
            }
            for row in chance.choices([r for r in rows if r["paraphrases"]], k=TIMED)
        ]
        spent = sorted(line["cpu_ms"] for line in verdicts(made, asked))
    return {
        "facts": FACTS,
        "questions": TIMED,
        "median_cpu_ms": spent[TIMED // 2],
        "p99_cpu_ms": spent[TIMED * 99 // 100],
    }


def share(flags: list[bool]) -> float:
    return round(sum(flags) / len(flags), 4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--topic", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--untimed", action="store_true", help="leave out the 10,000 facts, which take two minutes")
    args = parser.parse_args()
    chance = random.Random(args.seed)
    rows = [json.loads(line) for line in (args.topic / "questions.jsonl").read_text(encoding="utf-8").splitlines()]
    rows = [r for r in rows if not (r.get("held") or r.get("draft"))]
    by_key = {(r["id"], r["lang"]): r for r in rows}
    toml = (args.topic / "topic.toml").read_text(encoding="utf-8")
    own = re.findall(r'"([^"]+)"', re.search(r"aliases = \[(.*?)\]", toml, re.DOTALL)[1])  # type: ignore[index]
    museum = Museum(rows, [*own, "Ho Chi Minh"])

    wrong: dict[tuple[str, str], Row] = {}
    languages = sorted({r["lang"] for r in rows})
    while len(wrong) < COUNT:
        row = chance.choice([r for r in rows if r["lang"] == languages[len(wrong) % len(languages)]])
        if made := planted(row, museum, chance):
            wrong[row["lang"], made[0]] = {"id": row["id"], "lang": row["lang"], "answer": made[0], "kind": made[1]}
    file = Path(__file__).resolve().parent / f"rephrased-{args.topic.name}.jsonl"
    written = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    right = {(w["lang"], w["answer"]): w for w in written}
    while len(right) < COUNT:
        one = chance.choice(written)
        text = reworded(one, by_key[one["id"], one["lang"]]["key"], chance)
        right[one["lang"], text] = {**one, "answer": text}

    found = verdicts(args.topic, [*wrong.values(), *right.values()])
    of_wrong, of_right = found[: len(wrong)], found[len(wrong) :]
    caught: dict[str, list[bool]] = defaultdict(list)
    for line, verdict in zip(wrong.values(), of_wrong, strict=True):
        for group in ("all", line["kind"], line["lang"]):
            caught[group].append(verdict["verdict"] != "supported")
    marked: dict[str, list[bool]] = defaultdict(list)
    for line, verdict in zip(right.values(), of_right, strict=True):
        for group in ("all", line["lang"]):
            marked[group].append(verdict["verdict"] != "supported")
    spent = sorted(v["cpu_ms"] for v in found)
    missed = [w for w, v in zip(wrong.values(), of_wrong, strict=True) if v["verdict"] == "supported"]
    false = [w for w, v in zip(right.values(), of_right, strict=True) if v["verdict"] != "supported"]
    result = {
        "date": date.today().isoformat(),
        "machine": f"{platform.machine()}, {platform.system()}",
        "seed": args.seed,
        "planted": {"n": len(wrong), "by_verdict": dict(Counter(v["verdict"] for v in of_wrong)),
                    "caught": {k: share(v) for k, v in sorted(caught.items())}, "missed": missed},
        "right_in_other_words": {"n": len(right), "written_by_hand": len(written),
                                 "falsely_marked": {k: share(v) for k, v in sorted(marked.items())}, "marked": false},
        "check_cpu_ms": {"median": spent[len(spent) // 2], "p99": spent[len(spent) * 99 // 100]},
    }  # fmt: skip
    if not args.untimed:
        result["check_and_retrieval"] = time_of_many(args.topic, rows, chance)
    RESULTS.mkdir(exist_ok=True)
    out = RESULTS / f"planted-{args.topic.name}.json"
    out.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1, ensure_ascii=False))
    print(out)


if __name__ == "__main__":
    main()
