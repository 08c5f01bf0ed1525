"""A candidate as visitors would reach it: `python -m service` started on it, and asked over HTTP by an operator."""

from __future__ import annotations

import contextlib
import hashlib
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self

import httpx

from topics.topic import Topic
from training.errors import ServedError

ROOT = Path(__file__).resolve().parent.parent
_START_S = 900.0
"""A large model on a GPU is compiled before it speaks."""
_ANSWER_S = 600.0
_KEPT = ("DOCENT_CONTEXT_TOKENS", "DOCENT_KV_CACHE_GIB")
"""What a museum may have set for its machine, and the candidate will be served with."""


class Served(NamedTuple):
    """A running service, and the key of its operator."""

    client: httpx.Client
    program: subprocess.Popen[bytes]
    log: Path

    def prompt_ids(self, question: str, lang: str) -> list[int]:
        """The prompt that the engine reads for a question. Raises ServedError."""
        return list(self._asked("/tokenize", question, lang)["ids"])

    def says(self, question: str, lang: str) -> str:
        """What the model says to it greedily, before any check. Raises ServedError."""
        return str(self._asked("/generate", question, lang)["text"])

    def _asked(self, route: str, question: str, lang: str) -> dict[str, Any]:
        try:
            reply = self.client.post(route, json={"question": question, "language": lang})
        except httpx.HTTPError as error:
            raise ServedError(f"the service did not answer ({error!r}); see {self.log}") from error
        if reply.status_code != 200:
            raise ServedError(f"the service answered {reply.status_code} ({reply.text[:200]}); see {self.log}")
        return dict(reply.json())

    def wait(self) -> Self:
        """Returns when the engine has given a token. Raises ServedError when it cannot."""
        until = time.monotonic() + _START_S
        while time.monotonic() < until:
            if self.program.poll() is not None:
                raise ServedError(f"the service ended at once: {_last_line(self.log)}; see {self.log}")
            with contextlib.suppress(httpx.HTTPError):
                if self.client.get("/ready").status_code == 200:
                    return self
                if "docent_engine_restarts_total 0.0" not in self.client.get("/metrics").text:
                    raise ServedError(f"its engine cannot load these weights here; see {self.log}")
            time.sleep(0.3)
        raise ServedError(f"its engine gave no token within {_START_S / 60:.0f} minutes; see {self.log}")


@contextlib.contextmanager
def serving(topic: Topic, release: Path, log: Path, *, environ: Mapping[str, str]) -> Iterator[Served]:
    """A service of a release, on a free port and for nobody else, ready; it ends with the block.

    It keeps no book and nothing in a cache. `environ` is this program's own. Raises ServedError.
    """
    key = secrets.token_urlsafe(32)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = {
        "DOCENT_TOPIC": str(topic.folder),
        "DOCENT_RELEASE": str(release),
        "DOCENT_PORT": str(port),
        "DOCENT_OPERATOR_KEYS": f"sha256:{hashlib.sha256(key.encode()).hexdigest()}",
        "DOCENT_BOOK": "off",
        "DOCENT_CACHED_ANSWERS": "0",
        "DOCENT_ANSWER_DEADLINE_S": str(_ANSWER_S),
        "DOCENT_STALL_S": str(_ANSWER_S),
    }
    env = {k: v for k, v in environ.items() if k in _KEPT or not k.startswith("DOCENT_")} | settings
    headers = {"Authorization": f"Bearer {key}"}
    with (
        log.open("wb") as file,
        httpx.Client(
            base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=_ANSWER_S, trust_env=False
        ) as client,
    ):
        program = subprocess.Popen([sys.executable, "-m", "service"], cwd=ROOT, env=env, stdout=file, stderr=file)
        try:
            yield Served(client, program, log).wait()
        finally:
            _end(program)


def _end(program: subprocess.Popen[bytes]) -> None:
    program.terminate()
    try:
        program.wait(30)
    except subprocess.TimeoutExpired:
        program.kill()
        program.wait()


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else "without a word"
