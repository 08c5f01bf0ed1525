"""The service under load, beside a plain vLLM server of the same weights, on one machine and in one run.

  python benchmarks/load.py throughput --topic topics/ho_chi_minh --release releases/ho_chi_minh/live
  python benchmarks/load.py overload --topic … --release … --seconds 60
  python benchmarks/load.py soak --topic … --release … --minutes 30

Starts and ends what it measures, on free ports of this machine. Every sub-command answers one question:

  throughput   answers a second, and time of one, at 1, 32 and 64 at once: the service / vLLM, 48 forced tokens each
  mix          the same at 32 at once, half of the questions off topic; and a kiosk's day: Zipf over 200 questions,
               30 % off topic, the cache on, a model that answers whatever it may
  declined     how long a declined question takes at 50 a second
  overload     ten times as many questions as the engine can answer: what is answered, what is turned away and when
  soak         half load for long: memory and open files of the service
  leave        how soon the service stops working for a visitor who has gone, streaming or not
  kill         kill -9 of the engine's process under load: who is answered, and when the service is ready again
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import platform
import random
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
TOKENS = 48


# What is asked


class Question(NamedTuple):
    """What is asked, and the museum note that goes with it; none where it is off topic."""

    text: str
    note: str | None


Asking = Callable[[Question], Awaitable[str]]
"""Asks a question and gives how it ended."""


class Museum(NamedTuple):
    """A topic's own questions, each with its museum note, and questions that are nobody's subject here."""

    persona: str
    notes: dict[str, str]
    off_topic: list[str]


def read_museum(topic: Path) -> Museum:
    persona = subprocess.check_output(
        [sys.executable, "-c", f"from topics.topic import load_topic; print(load_topic({str(topic)!r}).persona)"],
        cwd=ROOT,
        text=True,
    ).strip()
    rows = map(json.loads, (topic / "questions.jsonl").read_text(encoding="utf-8").splitlines())
    notes = {r["question"]: r["answer"] for r in rows if r["lang"] == "en" and not r.get("draft") and not r.get("held")}
    off = map(json.loads, (topic.parent / "off_topic.jsonl").read_text(encoding="utf-8").splitlines())
    return Museum(
        persona, notes, [r["question"] for r in off if r.get("kind", "off") == "off" and r.get("lang", "en") == "en"]
    )


def mixed(museum: Museum, off_share: float, *, zipf: bool = False) -> Iterator[Question]:
    """Questions without end, every second one with a slip of the finger; with `zipf`, as visitors tap them: word for
    word, and some of 200 far more often than others.
    """
    chance = random.Random(1)
    ours = chance.sample(sorted(museum.notes), min(200, len(museum.notes)))
    weights = [1 / rank if zipf else 1.0 for rank in range(1, len(ours) + 1)]
    while True:
        if chance.random() < off_share:
            yield Question(chance.choice(museum.off_topic), None)
        else:
            question = chance.choices(ours, weights)[0]
            as_it_stands = zipf or chance.random() < 0.5
            yield Question(question if as_it_stands else slipped(question, chance), museum.notes[question])


def slipped(question: str, chance: random.Random) -> str:
    """Two neighbouring letters of a long word changed places."""
    words = question.split(" ")
    at = max(range(len(words)), key=lambda i: len(words[i]))
    letter = chance.randrange(1, max(len(words[at]) - 2, 2))
    word = words[at]
    words[at] = word[:letter] + word[letter : letter + 2][::-1] + word[letter + 2 :]
    return " ".join(words)


# What is measured


@contextlib.asynccontextmanager
async def running(command: Sequence[str], ready: str, **environment: str) -> AsyncIterator[tuple[str, int]]:
    """A server on a free port, from the moment that `ready` is green; gives its address and process id."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    settings = {k: v for k, v in os.environ.items() if not k.startswith("DOCENT_")}
    settings |= {"HF_HUB_OFFLINE": "1", "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_LOGGING_LEVEL": "ERROR", **environment}
    program = subprocess.Popen(
        [part.replace("PORT", port) for part in command],
        cwd=ROOT,
        env={**settings, "DOCENT_PORT": port} if "service" in command else settings,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        await until_green(f"{url}{ready}", 240, program)
        yield url, program.pid
    finally:
        program.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            program.wait(30)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(program.pid, signal.SIGKILL)


async def until_green(url: str, limit_s: float, program: subprocess.Popen[bytes] | None = None) -> float:
    """Seconds until `url` answered 200."""
    start = time.monotonic()
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(5)) as session:
        while time.monotonic() - start < limit_s:
            if program and program.poll() is not None:
                raise SystemExit(f"load: {' '.join(map(str, program.args))} ended with {program.returncode}")  # type: ignore[arg-type]
            with contextlib.suppress(aiohttp.ClientError, asyncio.TimeoutError):
                async with session.get(url) as reply:
                    if reply.status == 200:
                        return time.monotonic() - start
            await asyncio.sleep(0.1)
    raise SystemExit(f"load: {url} is not green after {limit_s:.0f} s")


def service(args: argparse.Namespace, **settings: str) -> contextlib.AbstractAsyncContextManager[tuple[str, int]]:
    environment = {"DOCENT_TOPIC": str(args.topic.resolve()), "DOCENT_RELEASE": str(args.release.resolve())}
    environment |= {"DOCENT_LOG_LEVEL": "WARNING", **settings}
    return running([sys.executable, "-m", "service"], "/ready", **environment)


def plain_vllm(args: argparse.Namespace) -> contextlib.AbstractAsyncContextManager[tuple[str, int]]:
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(args.release / "weights")]
    command += ["--served-model-name", "weights", "--dtype", "bfloat16", "--max-model-len", "1024", "--enforce-eager"]
    return running([*command, "--host", "127.0.0.1", "--port", "PORT"], "/health")


@contextlib.asynccontextmanager
async def visitors(limit_s: float = 60) -> AsyncIterator[aiohttp.ClientSession]:
    connections = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connections, timeout=aiohttp.ClientTimeout(limit_s)) as session:
        yield session


def ask_service(session: aiohttp.ClientSession, url: str) -> Asking:
    async def ask(question: Question) -> str:
        async with session.post(f"{url}/ask", json={"question": question.text}) as reply:
            body = await reply.json(content_type=None)
            if reply.status != 200:
                return str(reply.status)
            return "generated" if body["check"] else str(body["outcome"])

    return ask


def ask_vllm(session: aiohttp.ClientSession, url: str, museum: Museum) -> Asking:
    async def ask(question: Question) -> str:
        content = f"Museum notes:\n- {question.note}\n\n{question.text}" if question.note else question.text
        said = [{"role": "system", "content": museum.persona}, {"role": "user", "content": content}]
        body = {"model": "weights", "messages": said, "max_tokens": TOKENS, "temperature": 0, "ignore_eos": True}
        async with session.post(f"{url}/v1/chat/completions", json=body) as reply:
            done = await reply.json()
            assert reply.status == 200 and done["usage"]["completion_tokens"] == TOKENS, done
            return "generated"

    return ask


# How it is measured


class Side(NamedTuple):
    """One of two that are compared: how it is asked, and the process that answers, with all it started."""

    ask: Asking
    pid: int


class Round(NamedTuple):
    """What a time of asking gave."""

    seconds: float
    ended: Counter[str]
    ms: dict[str, list[float]]
    processor_s: float = 0.0
    """Processor time of the server's processes, where it was watched."""

    @property
    def a_second(self) -> float:
        """Answers, of whatever kind but a refusal of the door, a second."""
        return sum(n for how, n in self.ended.items() if not how.isdigit()) / self.seconds

    def summary(self) -> dict[str, Any]:
        return {
            "a_second": round(self.a_second, 1),
            "processor_ms_each": round(self.processor_s * 1000 / max(sum(self.ended.values()), 1), 2),
            "ended": dict(self.ended),
            "ms": {how: percentiles(values) for how, values in self.ms.items()},
        }


def percentiles(values: Sequence[float]) -> dict[str, float]:
    ordered = sorted(values)
    at = {"median": 0.5, "p95": 0.95, "p99": 0.99, "most": 1.0}
    return {k: round(ordered[min(int(share * len(ordered)), len(ordered) - 1)], 2) for k, share in at.items()}


async def closed_loop(ask: Asking, questions: Iterator[Question], at_once: int, seconds: float) -> Round:
    """`at_once` visitors, each asking again as soon as it is answered."""
    ended: Counter[str] = Counter()
    ms: dict[str, list[float]] = {}
    start = time.perf_counter()

    async def visitor() -> None:
        while time.perf_counter() - start < seconds:
            asked = time.perf_counter()
            how = await ask(next(questions))
            ended[how] += 1
            ms.setdefault(how, []).append((time.perf_counter() - asked) * 1000)

    await asyncio.gather(*(visitor() for _ in range(at_once)))
    return Round(time.perf_counter() - start, ended, ms)


async def paced(ask: Asking, questions: Iterator[Question], a_second: float, seconds: float) -> Round:
    """A new visitor at a steady pace, whether or not the ones before are answered."""
    ended: Counter[str] = Counter()
    ms: dict[str, list[float]] = {}

    async def visitor(question: Question) -> None:
        asked = time.perf_counter()
        how = await ask(question)
        ended[how] += 1
        ms.setdefault(how, []).append((time.perf_counter() - asked) * 1000)

    start = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for number in range(int(seconds * a_second)):
            await asyncio.sleep(max(0.0, start + number / a_second - time.perf_counter()))
            group.create_task(visitor(next(questions)))
    return Round(time.perf_counter() - start, ended, ms)


async def side_by_side(
    ours: Side, theirs: Side, questions: Callable[[], Iterator[Question]], at_once: int, args: argparse.Namespace
) -> dict[str, Any]:
    """Both in turns, so that a slow moment of the machine meets both; the ratio is the median of the turns'."""
    for side in (ours, theirs):
        await closed_loop(side.ask, questions(), at_once, 3)  # warm
    turns = []
    for _ in range(args.turns):
        turns.append([await watched(side, questions(), at_once, args.seconds) for side in (ours, theirs)])
        print(f"{at_once} at once: {turns[-1][0].a_second:.1f} and {turns[-1][1].a_second:.1f} a second", flush=True)
    middle = [statistics.median([median_ms(turn[side]) for turn in turns]) for side in (0, 1)]
    ours_took, theirs_took = ([turn[side].summary()["processor_ms_each"] for turn in turns] for side in (0, 1))
    return {
        "at_once": at_once,
        "throughput_ratio": round(statistics.median([a.a_second / b.a_second for a, b in turns]), 3),
        "latency_ratio": round(middle[0] / middle[1], 3),
        "processor_time_ratio": round(statistics.median(ours_took) / statistics.median(theirs_took), 3),
        "service": [a.summary() for a, _ in turns],
        "plain_vllm": [b.summary() for _, b in turns],
    }


async def watched(side: Side, questions: Iterator[Question], at_once: int, seconds: float) -> Round:
    """A closed loop, with the processor time it took."""
    before = processor_s(side.pid)
    done = await closed_loop(side.ask, questions, at_once, seconds)
    return done._replace(processor_s=processor_s(side.pid) - before)


def processor_s(pid: int) -> float:
    """Processor time so far of a process and all it started."""
    texts = [Path(f"/proc/{p}/stat").read_text(encoding="utf-8") for p in (pid, *children(pid))]
    ticks = sum(int(n) for text in texts for n in text.rpartition(")")[2].split()[11:13])
    return ticks / os.sysconf("SC_CLK_TCK")


def median_ms(turn: Round) -> float:
    return statistics.median([ms for values in turn.ms.values() for ms in values])


# The questions that are answered here


async def throughput(args: argparse.Namespace, museum: Museum) -> Any:
    async with (
        service(args, DOCENT_BENCH="1") as (url, pid),
        plain_vllm(args) as (peer, its_pid),
        visitors() as session,
    ):
        ours, theirs = Side(ask_service(session, url), pid), Side(ask_vllm(session, peer, museum), its_pid)
        return [await side_by_side(ours, theirs, lambda: mixed(museum, 0.0), n, args) for n in args.at_once]


async def mix(args: argparse.Namespace, museum: Museum) -> Any:
    found: dict[str, Any] = {}
    async with plain_vllm(args) as (peer, its_pid), visitors() as session:
        theirs = Side(ask_vllm(session, peer, museum), its_pid)
        async with service(args, DOCENT_BENCH="1") as (url, pid):
            ours = Side(ask_service(session, url), pid)
            found["half_off_topic"] = await side_by_side(ours, theirs, lambda: mixed(museum, 0.5), 32, args)
        with talkative(args) as wordy:
            async with service(wordy) as (url, pid):
                ours = Side(ask_service(session, url), pid)
                found["kiosk"] = await side_by_side(ours, theirs, lambda: mixed(museum, 0.3, zipf=True), 32, args)
    return found


@contextlib.contextmanager
def talkative(args: argparse.Namespace) -> Iterator[argparse.Namespace]:
    """The same release, but the model answers whatever it may: without that, a kiosk would hardly ask it."""
    with tempfile.TemporaryDirectory() as folder:
        release = Path(folder) / "release"
        release.mkdir()
        for part in args.release.iterdir():
            (release / part.name).symlink_to(part.resolve())
        manifest = release / "manifest.json"
        table = json.loads(manifest.read_text(encoding="utf-8"))
        manifest.unlink()
        manifest.write_text(json.dumps({**table, "answering": "generate"}), encoding="utf-8")
        yield argparse.Namespace(**{**vars(args), "release": release})


async def declined(args: argparse.Namespace, museum: Museum) -> Any:
    async with service(args) as (url, _), visitors() as session:
        ask = ask_service(session, url)
        await closed_loop(ask, mixed(museum, 1.0), 4, 3)
        return (await paced(ask, mixed(museum, 1.0), args.pace, args.seconds)).summary()


async def overload(args: argparse.Namespace, museum: Museum) -> Any:
    """Capacity is what as many visitors get as there are places; then ten times as many questions come a second."""
    places = {"DOCENT_GENERATIONS": "32", "DOCENT_WAITING": "32", "DOCENT_OPEN_QUESTIONS": "64"}
    async with service(args, DOCENT_BENCH="1", **places) as (url, pid), visitors() as session:
        ask = ask_service(session, url)
        await closed_loop(ask, mixed(museum, 0.0), 32, 5)
        capacity = await closed_loop(ask, mixed(museum, 0.0), 64, args.seconds / 3)
        before = memory_mib(pid)
        burst = await paced(ask, mixed(museum, 0.0), 10 * capacity.a_second, args.seconds)
        generated = [r.ended["generated"] / r.seconds for r in (capacity, burst)]
        return {
            "capacity": capacity.summary(),
            "overload": burst.summary(),
            "goodput_share": round(generated[1] / generated[0], 3),
            "memory_mib": [before, memory_mib(pid)],
        }


async def soak(args: argparse.Namespace, museum: Museum) -> Any:
    """Half load: half as many visitors as would fill the engine. The first tenth of the time is for warming."""
    seen = []
    async with service(args, DOCENT_BENCH="1") as (url, pid), visitors() as session:
        ask = ask_service(session, url)
        asking = asyncio.create_task(closed_loop(ask, mixed(museum, 0.3), 8, args.minutes * 60))
        for _ in range(20):
            await asyncio.sleep(args.minutes * 3)
            seen.append({"mib": memory_mib(pid), "files": len(os.listdir(f"/proc/{pid}/fd"))})
        done = await asking
    first, last = seen[1], seen[-1]
    return {
        "minutes": args.minutes,
        "asked": done.summary(),
        "memory_growth": round(last["mib"] / first["mib"] - 1, 4),
        "more_files": last["files"] - first["files"],
        "samples": seen,
    }


def memory_mib(pid: int) -> float:
    """Resident memory of a process and all it started."""
    pids = [pid, *children(pid)]
    texts = [Path(f"/proc/{p}/status").read_text(encoding="utf-8") for p in pids]
    return round(sum(int(re.search(r"VmRSS:\s+(\d+)", t).group(1)) for t in texts) / 1024, 1)  # type: ignore[union-attr]


def children(pid: int) -> list[int]:
    found = [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    for thread in Path(f"/proc/{pid}/task").iterdir():
        found += [int(p) for p in (thread / "children").read_text().split() if int(p) not in found]
    return found + [grandchild for child in found for grandchild in children(child)]


async def leave(args: argparse.Namespace, museum: Museum) -> Any:
    """Sixteen others keep the engine busy, so that an answer takes longer than the visitor stays."""
    found: dict[str, list[float]] = {"application/json": [], "text/event-stream": []}
    async with service(args, DOCENT_BENCH="1") as (url, _), visitors() as session:
        ask, questions = ask_service(session, url), mixed(museum, 0.0)
        others = asyncio.create_task(closed_loop(ask, mixed(museum, 0.0), 16, args.seconds))
        while not others.done():
            for accept, ms in found.items():
                before = await cancellations(session, url)
                try:
                    async with asyncio.timeout(0.1):
                        asked = {"json": {"question": next(questions).text}, "headers": {"Accept": accept}}
                        async with session.post(f"{url}/ask", **asked) as reply:
                            await reply.read()
                    continue  # answered too soon to leave
                except TimeoutError:
                    left = time.perf_counter()
                while await cancellations(session, url) == before:
                    await asyncio.sleep(0.002)
                ms.append((time.perf_counter() - left) * 1000)
        await others
    return {accept: {"n": len(ms), "ms": percentiles(ms)} for accept, ms in found.items()}


async def cancellations(session: aiohttp.ClientSession, url: str) -> float:
    async with session.get(f"{url}/metrics") as reply:
        return float(re.search(r"^docent_cancellations_total (\S+)$", await reply.text(), re.MULTILINE)[1])  # type: ignore[index]


async def kill(args: argparse.Namespace, museum: Museum) -> Any:
    async with service(args, DOCENT_BENCH="1") as (url, pid), visitors() as session:
        ask = ask_service(session, url)
        asking = asyncio.create_task(closed_loop(ask, mixed(museum, 0.0), 32, args.seconds))
        await asyncio.sleep(args.seconds / 3)
        engines = [p for p in children(pid) if "EngineCore" in Path(f"/proc/{p}/cmdline").read_text()]
        os.kill(engines[0], signal.SIGKILL)
        killed = time.monotonic()
        while await is_ready(session, url):
            await asyncio.sleep(0.05)
        noticed = time.monotonic() - killed
        await until_green(f"{url}/ready", 300)
        return {
            "noticed_s": round(noticed, 2),
            "ready_again_s": round(time.monotonic() - killed, 1),
            "asked_meanwhile": (await asking).summary(),
        }


async def is_ready(session: aiohttp.ClientSession, url: str) -> bool:
    async with session.get(f"{url}/ready") as reply:
        return reply.status == 200


QUESTIONS = {f.__name__: f for f in (throughput, mix, declined, overload, soak, leave, kill)}


def ended(*_: object) -> None:
    """Ends the servers first, which a second signal must not keep it from."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit("load: ended before the result")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=QUESTIONS)
    parser.add_argument("--topic", type=Path, required=True)
    parser.add_argument("--release", type=Path, required=True)
    parser.add_argument("--at-once", type=int, nargs="+", default=[1, 32, 64])
    parser.add_argument("--seconds", type=float, default=10, help="length of each measurement")
    parser.add_argument("--turns", type=int, default=3, help="measurements of each side")
    parser.add_argument("--pace", type=float, default=50, help="declined: questions a second")
    parser.add_argument("--minutes", type=float, default=30, help="soak: how long")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    args.release = args.release.resolve()
    signal.signal(signal.SIGTERM, ended)
    found = asyncio.run(QUESTIONS[args.what](args, read_museum(args.topic.resolve())))
    manifest = json.loads((args.release / "manifest.json").read_text(encoding="utf-8"))
    result = {
        "date": date.today().isoformat(),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}",
        "command": "python benchmarks/load.py " + " ".join(a for a in sys.argv[1:] if "/" not in a),
        "release": manifest["release"],
        "base": manifest["base"]["name"],
        args.what: found,
    }
    RESULTS.mkdir(exist_ok=True)
    out = args.out or RESULTS / f"load-{args.what}.json"
    out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1), out, sep="\n")


if __name__ == "__main__":
    main()
