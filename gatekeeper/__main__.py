"""python -m gatekeeper fit | decide

python -m gatekeeper fit --topic topics/ho_chi_minh --out gate.skops
echo '{"question": "Where was he born?"}' | python -m gatekeeper decide --gate gate.skops
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from pathlib import Path

from gatekeeper.filter import GateError, TopicFilter
from topics.errors import TopicError
from topics.prompt import Turn
from topics.questions import read_off_topic, read_questions
from topics.topic import HERE as TOPICS
from topics.topic import Topic, load_topic

log = logging.getLogger("gatekeeper")


def fit_gate(topic: Topic, off_topic: list[Path] | None = None) -> TopicFilter:
    """Fits a gate for a topic. `off_topic` replaces the shared file; the topic's near-misses always count."""
    rows = [r for r in read_questions(topic.folder / "questions.jsonl", unique=False) if not r.draft]
    others = read_off_topic(*(off_topic or [TOPICS / "off_topic.jsonl"]), topic.folder / "near_misses.jsonl")
    return TopicFilter(names=[*topic.title.values(), *topic.aliases]).fit(rows, others)


def _fit(args: argparse.Namespace) -> None:
    gate = fit_gate(load_topic(args.topic), args.off_topic)
    gate.save(args.out)
    print(f"{args.out}: threshold {gate.threshold_:.3f}, false passes out of fold {gate.false_passes_:.1%}")


def _decide(args: argparse.Namespace) -> None:
    gate = TopicFilter.load(args.gate)
    questions, histories = [], []
    for number, line in enumerate(sys.stdin, 1):
        if not line.strip():
            continue
        try:
            item = json.loads(line)
            questions.append(str(item["question"]))
            histories.append([Turn(str(t["question"]), str(t.get("answer", ""))) for t in item.get("history") or []])
        except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
            raise GateError(f'stdin:{number}: {error!r}; write {{"question": "…"}}, one object a line') from error
    for verdict in gate.decide_many(questions, histories):
        print(json.dumps(verdict._asdict()))


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m gatekeeper", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True, metavar="fit | decide")
    fit = commands.add_parser("fit", help="learn a gate from a topic folder")
    fit.add_argument("--topic", required=True, help="name or folder of a topic")
    fit.add_argument("--out", required=True, type=Path, help="where to write the gate")
    fit.add_argument(
        "--off-topic",
        action="append",
        type=Path,
        help="off-topic questions instead of the shared file; may be repeated",
    )
    fit.set_defaults(run=_fit)
    decide = commands.add_parser("decide", help="judge JSON lines from stdin, in order")
    decide.add_argument("--gate", required=True, type=Path)
    decide.set_defaults(run=_decide)
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        args.run(args)
    except (TopicError, GateError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
