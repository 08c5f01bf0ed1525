"""python -m topics lint

python -m topics lint --topic ho_chi_minh
python -m topics lint --topic /home/museum/topics/lighthouse
"""

from __future__ import annotations

import argparse
import sys

from topics.errors import TopicError
from topics.lint import lint
from topics.topic import load_topic


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m topics", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True, metavar="lint")
    check = commands.add_parser("lint", help="what to mend before training")
    check.add_argument("--topic", required=True, help="name or folder of a topic")
    args = parser.parse_args()
    try:
        topic = load_topic(args.topic)
        findings = lint(topic, topic.rows())
    except TopicError as error:
        print(error, file=sys.stderr)
        return 1
    for finding in findings:
        print(("error: " if finding.error else "warning: ") + finding.text)
    errors = sum(f.error for f in findings)
    print(f"{topic.id}: {errors} errors, {len(findings) - errors} warnings")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
