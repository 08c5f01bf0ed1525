"""The curator's tools: python -m topics lint | stats | import | read | draft | new | check

python -m topics new sea_museum --title "The Sea Museum"
python -m topics lint --topic ho_chi_minh
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from pydantic import BaseModel

from topics.errors import TopicError
from topics.topic import load_topic


def _lint(args: argparse.Namespace) -> int:
    from topics.lint import lint

    topic = load_topic(args.topic)
    findings = lint(topic)
    for finding in findings:
        print(("error: " if finding.error else "warning: ") + finding.text)
    errors = sum(f.error for f in findings)
    print(f"{topic.id}: {errors} errors, {len(findings) - errors} warnings")
    return 1 if errors else 0


def _stats(args: argparse.Namespace) -> int:
    from topics.stats import as_picture, as_table, count

    topic = load_topic(args.topic)
    stats = count(topic)
    print(as_table(topic, stats))
    if args.picture:
        as_picture(topic, stats, args.picture)
        print(f"picture: {args.picture}")
    return 0


def _check(args: argparse.Namespace) -> int:
    import time

    from topics.check import FactCheck
    from topics.evidence import Evidence

    topic = load_topic(args.topic)
    rows = [r for r in topic.rows() if not r.held]
    facts, known = FactCheck(topic, rows), {(r.id, r.lang): r for r in rows}
    lines = [json.loads(line) for line in sys.stdin if line.strip()]
    evidence = Evidence(topic, rows) if any("question" in line for line in lines) else None
    for line in lines:
        began = time.process_time()
        lang = line.get("lang") or topic.languages[0]
        if evidence and "question" in line:
            matches = evidence.search(line["question"], lang, 1)
            fact = matches[0].row if matches else None
        else:
            fact = known.get((line.get("id", ""), lang))
        if fact is None:
            raise TopicError(
                f"{json.dumps(line, ensure_ascii=False)[:200]}: no fact to that; give a fact's id and lang"
            )
        verdict = facts.answer(line["answer"], fact)
        cpu_ms = round(1000 * (time.process_time() - began), 3)
        print(json.dumps({"verdict": verdict, "id": fact.id, "cpu_ms": cpu_ms}))
    return 0


def _import(args: argparse.Namespace) -> int:
    from topics.importer import Report, read_pairs, to_off_topic, to_rows
    from topics.questions import read_off_topic, read_questions

    out: Path = args.off_topic or load_topic(args.topic).folder / "questions.jsonl"
    if out.exists() and not (args.force or args.append):
        raise TopicError(f"{out}: exists already; give --append to add to it, or --force to replace it")
    keep = out.exists() and args.append
    report = Report()
    pairs = read_pairs(args.file)
    made: Iterable[BaseModel]
    if args.off_topic:
        made = to_off_topic(pairs, lang=args.lang, report=report, taken=read_off_topic(out) if keep else ())
    else:
        made = to_rows(pairs, lang=args.lang, report=report, taken=read_questions(out) if keep else ())
    _write(out, made, keep=keep)
    print(report)
    print(f"written to {out}" if report.kept else f"{out}: left as it was, nothing could be used")
    return 0 if report.kept else 1


def _read(args: argparse.Namespace) -> int:
    from topics.reader import read_page

    sentences = read_page(args.page, language=args.lang)
    lines = "".join(json.dumps(s._asdict(), ensure_ascii=False) + "\n" for s in sentences)
    if args.out is None:
        print(lines, end="")
    elif args.out.exists() and not args.force:
        raise TopicError(f"{args.out}: exists already; give --force to replace it")
    else:
        args.out.write_text(lines, encoding="utf-8")
        print(f"{args.out}: {len(sentences)} sentences from {sentences[0].reference}")
    return 0


def _draft(args: argparse.Namespace) -> int:
    from openai import OpenAI

    from topics.drafter import draft, sections

    topic = load_topic(args.topic)
    client = OpenAI(
        base_url=args.endpoint, api_key=os.environ.get("OPENAI_API_KEY", "none"), timeout=120, max_retries=1
    )
    parts = sections(topic.folder / "sources", args.article)
    made = list(draft(topic, parts, client=client, model=args.model, count=args.count, language=args.lang))
    out = topic.folder / "questions.jsonl"
    _write(out, made, keep=out.exists())
    print(f"{out}: {len(made)} drafts added; read each, then take `draft` away from the good and delete the others")
    return 0 if made else 1


def _new(args: argparse.Namespace) -> int:
    from topics.newtopic import new_topic
    from topics.topic import HERE

    folder = Path(args.name) if os.sep in args.name else HERE / args.name
    new_topic(folder, title=args.title, languages=args.languages.split(","))
    print(f"{folder}: made; write your facts into questions.jsonl, then: python -m topics lint --topic {args.name}")
    return 0


def _write(out: Path, rows: Iterable[BaseModel], *, keep: bool) -> None:
    """Writes beside `out` and puts it in place at the end, so that a failure leaves the old file as it was."""
    new = out.with_name(f".{out.name}.new")
    try:
        with new.open("w", encoding="utf-8") as file:
            if keep:
                before = out.read_text(encoding="utf-8")
                file.write(before if before.endswith("\n") or not before else before + "\n")
            written = 0
            for row in rows:
                written += file.write(row.model_dump_json(by_alias=True, exclude_defaults=True) + "\n")
        if written:
            new.replace(out)
    finally:
        new.unlink(missing_ok=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m topics", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: object, about: str, *examples: str) -> argparse.ArgumentParser:
        shown = "examples:\n" + "\n".join(f"  python -m topics {name} {e}" for e in examples)
        made = commands.add_parser(
            name, help=about, description=about, epilog=shown, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        made.set_defaults(run=run)
        return made

    lint = command(
        "lint", _lint, "what to mend before training", "--topic ho_chi_minh", "--topic /home/museum/lighthouse"
    )
    stats = command(
        "stats",
        _stats,
        "what a topic holds, in numbers",
        "--topic ho_chi_minh",
        "--topic marie_curie --picture stats.png",
    )
    stats.add_argument("--picture", type=Path, metavar="FILE", help="draw the numbers as well (.png, .svg or .pdf)")
    bring = command(
        "import",
        _import,
        "questions and answers from a CSV, JSONL, XLSX or SQuAD file, or a Hugging Face data set",
        "faq.csv --topic sea_museum --append",
        "visitors.xlsx --off-topic topics/off_topic.jsonl --append --lang fr",
    )
    bring.add_argument("file", help="file, or name or folder of a data set")
    bring.add_argument("--off-topic", type=Path, metavar="FILE", help="into this file of questions to turn away")
    bring.add_argument("--lang", default="en", help="language of lines that do not say (default: en)")
    bring.add_argument("--append", action="store_true", help="add to a file that exists")
    bring.add_argument("--force", action="store_true", help="replace a file that exists")
    read = command(
        "read",
        _read,
        "a web page as clean sentences with section and reference",
        "https://en.wikipedia.org/wiki/Lighthouse --out lighthouse.jsonl",
        "saved_page.html --lang vi",
    )
    read.add_argument("page", help="saved page, or address")
    read.add_argument("--out", type=Path, metavar="FILE", help="JSON lines; without it to the screen")
    read.add_argument("--lang", default="en", help="language of the page (default: en)")
    read.add_argument("--force", action="store_true", help="replace a file that exists")
    propose = command(
        "draft",
        _draft,
        "proposals for new facts from sources/, by any OpenAI-compatible endpoint (key in OPENAI_API_KEY)",
        "--topic sea_museum --endpoint http://127.0.0.1:11434/v1 --model qwen3:8b",
        "--topic sea_museum --endpoint http://127.0.0.1:8080/v1 --model local --article the_harbour --count 5",
    )
    propose.add_argument("--endpoint", required=True, metavar="URL", help="base address, ending in /v1")
    propose.add_argument("--model", required=True, help="name of a model there")
    propose.add_argument("--article", help="this article alone")
    propose.add_argument("--count", type=int, default=3, help="proposals per section (default: 3)")
    propose.add_argument("--lang", help="language of the proposals (default: the topic's first)")
    compare = command(
        "check",
        _check,
        "answers against the museum's facts: JSON lines {id or question, lang, answer} on stdin, verdicts on stdout",
        "--topic ho_chi_minh < answers.jsonl",
    )
    for made in (lint, stats, propose, compare):
        made.add_argument("--topic", required=True, help="name or folder of a topic")
    bring.add_argument("--topic", help="name or folder of a topic")
    begin = command(
        "new",
        _new,
        "a new topic folder that passes lint",
        "sea_museum",
        'sea_museum --title "The Sea" --languages en,fr',
    )
    begin.add_argument("name", help="small letters, digits and _; or a path")
    begin.add_argument("--title", default="", help="the subject's name")
    begin.add_argument("--languages", default="en", help="codes, the museum's own first (default: en)")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    parser = _parser()
    args = parser.parse_args(arguments)
    if args.run is _import and (args.topic is None) == (args.off_topic is None):
        parser.error("import: give --topic or --off-topic, one of them")
    try:
        return int(args.run(args))
    except TopicError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
