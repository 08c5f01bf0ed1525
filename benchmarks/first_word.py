"""Time to the first word of on-topic answers, curated and generated, one visitor at a time, over HTTP.

python benchmarks/first_word.py --topic topics/ho_chi_minh     (a service must be running)
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import statistics
import time
from collections import defaultdict
from datetime import date
from pathlib import Path

import httpx
from httpx_sse import connect_sse

RESULTS = Path(__file__).resolve().parent / "results"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--topic", type=Path, required=True)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--questions", type=int, default=200)
    args = parser.parse_args()
    rows = [json.loads(line) for line in (args.topic / "questions.jsonl").read_text(encoding="utf-8").splitlines()]
    wordings = [p["text"] for r in rows for p in r["paraphrases"] if p.get("held")]
    times: dict[str, list[float]] = defaultdict(list)
    with httpx.Client(base_url=args.url, timeout=60) as client:
        for wording in random.Random(1).sample(wordings, min(args.questions, len(wordings))):
            start, first, done = time.perf_counter(), 0.0, {}
            with connect_sse(client, "POST", "/ask", json={"question": wording}) as source:
                for event in source.iter_sse():
                    if event.event == "delta" and not first:
                        first = time.perf_counter() - start
                    if event.event == "done":
                        done = json.loads(event.data)
            if done.get("outcome") == "answered":
                generated = done["check"] is not None
                times["generated" if generated else "curated"].append(first * 1000)
                times["all"].append(first * 1000)
    result = {
        "date": date.today().isoformat(),
        "machine": f"{platform.machine()}, {platform.system()}",
        "first_word_ms": {
            k: {"n": len(v), "median": round(statistics.median(v), 1), "p95": round(sorted(v)[int(0.95 * len(v))], 1)}
            for k, v in times.items()
        },
    }
    RESULTS.mkdir(exist_ok=True)
    out = RESULTS / f"first-word-{args.topic.name}.json"
    out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result["first_word_ms"], indent=1), out, sep="\n")


if __name__ == "__main__":
    main()
