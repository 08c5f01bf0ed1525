"""python -m gatekeeper fit | decide | time | try | report | label | near-misses

python -m gatekeeper fit --topic topics/ho_chi_minh --out gate.skops
echo '{"question": "Where was he born?"}' | python -m gatekeeper decide --gate gate.skops
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from collections import Counter
from pathlib import Path

from gatekeeper.filter import GateError, TopicFilter
from gatekeeper.fitting import fit_gate
from gatekeeper.label import label, proposals
from gatekeeper.report import timing, write_report
from gatekeeper.second import load_encoder
from topics.errors import TopicError
from topics.prompt import Turn
from topics.questions import LABELLED
from topics.topic import load_topic

log = logging.getLogger("gatekeeper")


def _fit(args: argparse.Namespace) -> None:
    gate = fit_gate(load_topic(args.topic), args.off_topic, load_encoder(args.encoder) if args.encoder else None)
    gate.save(args.out)
    print(f"{args.out}: lets in from {gate.cuts_.let_in:.2f}, turns away below {gate.cuts_.turn_away:.2f}")


def _read_questions() -> tuple[list[str], list[list[Turn]]]:
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
    return questions, histories


def _decide(args: argparse.Namespace) -> None:
    gate = TopicFilter.load(args.gate, load_encoder(args.encoder) if args.encoder else None)
    for verdict in gate.decide_many(*_read_questions()):
        print(json.dumps({"on_topic": verdict.on_topic, "score": verdict.score, "kind": verdict.kind}))


def _time(args: argparse.Namespace) -> None:
    start = time.perf_counter()
    gate = TopicFilter.load(args.gate, load_encoder(args.encoder) if args.encoder else None)
    load_s = time.perf_counter() - start
    questions, _ = _read_questions()
    print(json.dumps({"load_ms": round(load_s * 1000), **timing(gate, questions)}))


def _try(args: argparse.Namespace) -> None:
    gate = TopicFilter.load(args.gate)
    verdict = gate.decide(args.question, [Turn(q, "") for q in args.after])
    what = "let in" if verdict.on_topic else "asked back: do you mean …?" if verdict.doubtful else "turned away"
    print(f"{what}: {verdict.kind}, score {verdict.score:.3f} (lets in from {gate.threshold_:.2f})")
    for reason in gate.why(args.question, 10):
        print(f"  {reason.weight:+6.2f}  {reason.feature}")


def _report(args: argparse.Namespace) -> None:
    write_report(load_topic(args.topic), args.out, off_topic=args.off_topic, before=args.before)
    print(f"{args.out}: open it in a browser")


def _label(args: argparse.Namespace) -> None:
    topic = load_topic(args.topic)
    gate = TopicFilter.load(args.gate) if args.gate else None
    counts = Counter(line.kind for line in label(topic, args.file, gate))
    print(f"{sum(counts.values())} labelled in {topic.folder / LABELLED}; the next fit learns from them")


def _near_misses(args: argparse.Namespace) -> None:
    for line in proposals(load_topic(args.topic)):
        print(json.dumps(line.model_dump(), ensure_ascii=False))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m gatekeeper", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True, metavar="fit | decide | time | try | report | label | near-misses")
    topic = argparse.ArgumentParser(add_help=False)
    topic.add_argument("--topic", required=True, help="name or folder of a topic")
    others = argparse.ArgumentParser(add_help=False)
    others.add_argument(
        "--off-topic",
        action="append",
        type=Path,
        help="off-topic questions instead of the shared file; may be repeated",
    )
    second = argparse.ArgumentParser(add_help=False)
    second.add_argument("--encoder", type=Path, help="a sentence-transformers folder, for a second opinion in doubt")
    gate = argparse.ArgumentParser(add_help=False)
    gate.add_argument("--gate", required=True, type=Path)

    fit = commands.add_parser("fit", parents=[topic, others, second], help="learn a gate from a topic folder")
    fit.add_argument("--out", required=True, type=Path, help="where to write the gate")
    fit.set_defaults(run=_fit)
    decide = commands.add_parser("decide", parents=[gate, second], help="judge JSON lines from stdin, in order")
    decide.set_defaults(run=_decide)
    clock = commands.add_parser("time", parents=[gate, second], help="time decisions on JSON lines from stdin")
    clock.set_defaults(run=_time)
    explain = commands.add_parser("try", parents=[gate], help="judge one question and say why")
    explain.add_argument("question")
    explain.add_argument("--after", action="append", default=[], help="an earlier question; may be repeated")
    explain.set_defaults(run=_try)
    report = commands.add_parser("report", parents=[topic, others], help="how good the gate is: one HTML file")
    report.add_argument("--out", required=True, type=Path)
    report.add_argument("--before", type=Path, help="another gate, to compare scores with")
    report.set_defaults(run=_report)
    labels = commands.add_parser("label", parents=[topic], help="say what refused questions are, for the next fit")
    labels.add_argument("file", type=Path, help='lines of {"question": "…"}; a line with a "kind" is not asked about')
    labels.add_argument("--gate", type=Path, help="shows this gate's score beside each question")
    labels.set_defaults(run=_label)
    near = commands.add_parser(
        "near-misses", parents=[topic], help="propose hard negatives for a new topic, to keep or drop"
    )
    near.set_defaults(run=_near_misses)
    return parser


def main() -> int:
    args = _parser().parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        args.run(args)
    except BrokenPipeError:
        return 0  # `| head` has seen enough
    except (TopicError, GateError, ValueError, FileNotFoundError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
