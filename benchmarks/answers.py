"""How visitors fare: every held-out wording of a topic through `POST /ask`, by register and language.

  python benchmarks/answers.py --topic topics/ho_chi_minh        (a service must be running)

`right`: the answer holds every key string of the fact. `offered`: the fact's question is among the suggestions of
"Do you mean …?". `beside`: something else was answered. Held-out wordings that are nearly trained ones are left
out. Also asks 100 off-topic questions and reads the engine's
metric. Measure a release without held-out wordings in it (`make train-adapter`), or the figures mean nothing.

  python benchmarks/answers.py --topic topics/ho_chi_minh --engine-stopped releases/ho_chi_minh/live

starts a service of its own whose engine never comes up, and measures how soon and how well it answers all the same.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import random
import re
import socket
import statistics
import subprocess
import sys
import time
import unicodedata
from collections import defaultdict
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import httpx
from rapidfuzz import fuzz

RESULTS = Path(__file__).resolve().parent / "results"


NEAR = 92
"""Percent of token-sort similarity from which a held-out wording is a trained one in another order."""


def norm(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text.lower().replace("đ", "d"))
    folded = "".join(c for c in decomposed if not unicodedata.combining(c))
    # Chinese has no blanks: each character is a word.
    return " ".join(re.sub(r"([\u3400-\u9fff])", r" \1 ", re.sub(r"\W+", " ", folded)).split())


def holds(text: str, key: str) -> bool:
    return f" {norm(key)}" in f" {norm(text)} "


def overlap(wording: str, others: list[str]) -> float:
    """Largest share of the wording's words that one trained wording has too (Jaccard)."""
    mine = set(norm(wording).split())
    return max(len(mine & set(norm(o).split())) / max(len(mine | set(norm(o).split())), 1) for o in others)


def engine_answers(client: httpx.Client) -> float:
    text = client.get("/metrics").text
    return float(re.search(r'docent_engine_requests_total\{purpose="answer"\} (\S+)', text).group(1))  # type: ignore[union-attr]


def judge(reply: dict[str, Any], row: dict[str, Any]) -> str:
    if reply["outcome"] == "answered":
        return "right" if all(holds(reply["answer"], k) for k in row["key"]) else "beside"
    if reply["outcome"] == "unsure" and row["question"] in reply["suggestions"]:
        return "offered"
    return {"unsure": "unsure", "declined": "refused"}.get(reply["outcome"], "other")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


@contextlib.contextmanager
def without_engine(topic: Path, release: Path, question: str) -> Iterator[tuple[str, float]]:
    """A service whose engine is an address where nobody listens; and the seconds until it answered `question`."""
    port, began = free_port(), time.monotonic()
    settings = {"DOCENT_TOPIC": str(topic), "DOCENT_RELEASE": str(release), "DOCENT_PORT": str(port),
                "DOCENT_ENGINE": f"http://127.0.0.1:{free_port()}", "DOCENT_RATE_LIMIT": "",
                "DOCENT_LOG_LEVEL": "ERROR", "DOCENT_BOOK": "off"}  # fmt: skip
    program = subprocess.Popen([sys.executable, "-m", "service"], env={**os.environ, **settings})
    try:
        while program.poll() is None:
            with contextlib.suppress(httpx.HTTPError):
                reply = httpx.post(f"http://127.0.0.1:{port}/ask", json={"question": question}, timeout=5)
                if reply.status_code == 200 and reply.json()["source"] == "curated":
                    yield f"http://127.0.0.1:{port}", round(time.monotonic() - began, 2)
                    return
            time.sleep(0.05)
        raise SystemExit(f"the service ended with {program.returncode}; its last lines say why")
    finally:
        program.terminate()
        program.wait(30)


def percentile(milliseconds: list[float], share: float) -> float:
    return round(sorted(milliseconds)[int(share * (len(milliseconds) - 1))], 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--topic", type=Path, required=True)
    parser.add_argument(
        "--engine-stopped", type=Path, metavar="RELEASE", help="a service of its own, without an engine"
    )
    parser.add_argument(
        "--off-topic", type=Path, default=Path("topics/off_topic.jsonl"), help="better: questions the gate never saw"
    )
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    rows = [json.loads(line) for line in (args.topic / "questions.jsonl").read_text(encoding="utf-8").splitlines()]
    with contextlib.ExitStack() as stack:
        started = None
        if args.engine_stopped:
            service = without_engine(args.topic, args.engine_stopped, rows[0]["question"])
            args.url, started = stack.enter_context(service)
        result = measure(httpx.Client(base_url=args.url, timeout=60), rows, args.off_topic)
    name = args.topic.name
    if started is not None:
        result = {"first_curated_answer_s": started, **lost_to(RESULTS / f"answers-{name}.json", result), **result}
        name += "-engine-stopped"
    RESULTS.mkdir(exist_ok=True)
    out = args.out or RESULTS / f"answers-{name}.json"
    out.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    columns = ("right", "offered", "beside", "unsure", "refused")
    print(f"{'share of':14} {'n':>4}", *(f"{c:>8}" for c in columns))
    for name, c in result["groups"].items():
        print(f"{name:14} {c['n']:4}", *(f"{c.get(column, 0) / c['n']:8.2f}" for column in columns))
    print({k: v for k, v in result.items() if k != "groups"})
    print(out)


def lost_to(file: Path, stopped: dict[str, Any]) -> dict[str, Any]:
    """What plain wordings lose without an engine, against the figures of the same release with one."""
    before = json.loads(file.read_text(encoding="utf-8"))
    if before["release"] != stopped["release"]:
        return {"plain_points_lost": f"unknown: {file.name} is of release {before['release']}"}
    with_, without = (r["groups"]["plain"]["right"] / r["groups"]["plain"]["n"] for r in (before, stopped))
    return {"plain_points_lost": round(100 * (with_ - without), 1)}


def measure(client: httpx.Client, rows: list[dict[str, Any]], off_topic: Path) -> dict[str, Any]:
    """The figures of a running service."""
    release = client.get("/topic").json()["release"]
    counts: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    sources: dict[str, int] = defaultdict(int)
    milliseconds, overlaps, left_out = [], [], 0
    for row in (r for r in rows if not r.get("draft")):
        held = [p for p in row["paraphrases"] if p.get("held") or row.get("held")]
        trained = [row["question"], *(p["text"] for p in row["paraphrases"] if not p.get("held"))]
        for wording in held:
            if not row.get("held") and any(
                fuzz.token_sort_ratio(norm(wording["text"]), norm(t)) >= NEAR for t in trained
            ):
                left_out += 1
                continue
            reply = client.post("/ask", json={"question": wording["text"]}).json()
            kind = "unseen" if row.get("held") else ("plain" if wording["register"] == "plain" else "hard")
            verdict = judge(reply, row)
            groups = [f"{kind}", f"{kind} {row['lang']}"]
            if kind != "unseen":
                overlaps.append(overlap(wording["text"], trained))
                groups += [f"{wording['register']} {row['lang']}"] if kind == "hard" else []
            for group in groups:
                counts[group]["n"] += 1
                counts[group][verdict] += 1
            sources[reply.get("source", "none")] += 1
            milliseconds.append(reply["timings"]["total_ms"])
    off = [json.loads(line) for line in off_topic.read_text(encoding="utf-8").splitlines()]
    before = engine_answers(client)
    outcomes: dict[str, int] = defaultdict(int)
    for question in random.Random(0).sample(off, 100):
        text = question.get("question") or question["text"]
        outcomes[client.post("/ask", json={"question": text}).json()["outcome"]] += 1
    return {
        "date": date.today().isoformat(),
        "machine": f"{platform.machine()}, {platform.system()}",
        "release": release,
        "groups": {k: dict(v) for k, v in sorted(counts.items())},
        "sources": dict(sources),
        "left_out_as_nearly_trained": left_out,
        "median_ms": round(statistics.median(milliseconds), 1),
        "p99_ms": percentile(milliseconds, 0.99),
        "lexical_overlap_with_trained": {
            "mean_jaccard": round(statistics.mean(overlaps), 3),
            "median": round(statistics.median(overlaps), 3),
        },
        "off_topic_100": {"outcomes": dict(outcomes), "engine_answer_requests": engine_answers(client) - before},
    }


if __name__ == "__main__":
    main()
