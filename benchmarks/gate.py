"""How fast and how large a gate is: one decision, many at once, loading and fitting.

  python benchmarks/gate.py --topic topics/ho_chi_minh

Fitting has all cores. Deciding has one, as in a service that also runs an engine.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

RESULTS = Path(__file__).resolve().parent / "results"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--topic", required=True, type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "gate.skops"
        start = time.perf_counter()
        command = [sys.executable, "-m", "gatekeeper", "fit", "--topic", str(args.topic), "--out", str(file)]
        subprocess.run(command, check=True)
        fit_s = time.perf_counter() - start
        fit_mib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024  # of the largest process
        os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[-1]})
        result = {**measure(args.topic, file), "fit_s": round(fit_s, 1), "fit_mib": round(fit_mib)}
    result = {"date": date.today().isoformat(), "machine": f"{platform.machine()}, {platform.system()}", **result}
    out = RESULTS / f"gate-speed-{args.topic.name}.json"
    out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1))


def measure(topic: Path, file: Path) -> dict[str, float]:
    """Times in milliseconds, sizes in megabytes; questions are the held-out wordings and the near-misses."""
    asked = [json.loads(line)["question"] for line in (topic / "near_misses.jsonl").open(encoding="utf-8")]
    for line in (topic / "questions.jsonl").open(encoding="utf-8"):
        asked += [p["text"] for p in json.loads(line).get("paraphrases", []) if p.get("held")]
    lines = "".join(json.dumps({"question": q}) + "\n" for q in asked)
    command = [sys.executable, "-m", "gatekeeper", "time", "--gate", str(file)]
    done = subprocess.run(command, input=lines, capture_output=True, text=True, check=True)
    return {**json.loads(done.stdout), "file_mb": round(file.stat().st_size / 1e6, 2)}


if __name__ == "__main__":
    main()
