"""Stands in for the service in the kiosk's tests: same HTTP, scripted answers, and it remembers what it was asked."""

from __future__ import annotations

import asyncio
import io
import itertools
import json
import socket
import threading
import time
import tomllib
import wave
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

TEXTS = Path(__file__).resolve().parents[2] / "topics" / "texts"
TITLES = {"en": "Ho Chi Minh", "vi": "Chủ tịch Hồ Chí Minh", "fr": "Hô Chi Minh", "zh": "胡志明", "es": "Ho Chi Minh"}
SUGGESTIONS = {
    "en": [
        "Where was Ho Chi Minh born?",
        "Why did he leave Vietnam in 1911?",
        "What did he do in Paris?",
        "What is written in his testament?",
    ],
    "vi": [
        "Hồ Chí Minh sinh ra ở đâu?",
        "Vì sao Người ra đi tìm đường cứu nước năm 1911?",
        "Người đã làm gì ở Paris?",
        "Bản Di chúc của Người viết những gì?",
    ],
    "fr": [
        "Où est né Hô Chi Minh ?",
        "Pourquoi a-t-il quitté le Vietnam en 1911 ?",
        "Qu'a-t-il fait à Paris ?",
        "Que dit son testament ?",
    ],
    "zh": ["胡志明出生在哪里？", "他为什么在1911年离开越南？", "他在巴黎做了什么？", "他的遗嘱写了什么？"],
    "es": [
        "¿Dónde nació Ho Chi Minh?",
        "¿Por qué salió de Vietnam en 1911?",
        "¿Qué hizo en París?",
        "¿Qué dice su testamento?",
    ],
}
BORN = {
    "en": "Ho Chi Minh was born on 19 May 1890 in Hoang Tru, his mother's village in Nghe An province. "
    "He grew up in nearby Kim Lien, the home of his father's family, where visitors can still see both houses.",
    "vi": "Hồ Chí Minh sinh ngày 19 tháng 5 năm 1890 tại làng Hoàng Trù, quê mẹ của Người, thuộc tỉnh Nghệ An. "
    "Người lớn lên ở làng Kim Liên gần đó, quê nội, nơi khách tham quan vẫn có thể thấy cả hai ngôi nhà.",
    "fr": "Hô Chi Minh est né le 19 mai 1890 à Hoang Tru, le village de sa mère, dans la province de Nghe An. "
    "Il a grandi tout près, à Kim Lien, où l'on peut encore voir les deux maisons.",
    "zh": "胡志明于1890年5月19日出生在义安省的黄稠村，那是他母亲的家乡。他在附近的金莲村长大，两座故居至今仍可参观。",
    "es": "Ho Chi Minh nació el 19 de mayo de 1890 en Hoang Tru, la aldea de su madre, en la provincia de Nghe An. "
    "Creció cerca de allí, en Kim Lien, donde todavía se pueden ver las dos casas.",
}
SOURCE = {
    "en": "Birth and family",
    "vi": "Quê hương và gia đình",
    "fr": "Naissance et famille",
    "zh": "出生与家庭",
    "es": "Nacimiento y familia",
}
PASSAGE = (
    "Ho Chi Minh was born on 19 May 1890 in Hoang Tru, a small village in Nghe An province. It was his mother's home, "
    "and the family lived there on her parents' land.\n\nWhen he was five the family moved to Hue, where his father "
    "prepared for the examinations of the court."
)
LANGUAGES = {"en": "English", "vi": "Tiếng Việt", "fr": "Français", "zh": "中文", "es": "Español"}
TAKE_AWAY = "https://museum.example/guide"
HOSTILE = (
    "<img src=x onerror=\"document.title='hacked'\"><script>alert(1)</script> <b>bold</b> __under__ `code` "
    "![pixel](https://example.org/p.png) see [this page](https://example.org/x) or https://example.org/y now"
)


def topic() -> dict[str, Any]:
    """The body of `GET /topic`, with the texts that are shipped."""
    return {
        "id": "ho_chi_minh",
        "title": dict(TITLES),
        "languages": [{"code": code, "name": name} for code, name in LANGUAGES.items()],
        "texts": {code: texts(code) for code in TITLES},
        "suggestions": dict(SUGGESTIONS),
        "colours": {"primary": "#8c1d18", "accent": "#0f4c52", "background": "#fbf7ef"},
        "speech": {"speak": list(LANGUAGES), "listen": list(LANGUAGES)},
        "release": None,
    }


def texts(code: str) -> dict[str, str]:
    """The screen's words in one language."""
    table = tomllib.loads((TEXTS / f"{code}.toml").read_text("utf-8"))
    table.pop("words_kept", None)  # sent only where the museum keeps words
    own = {name: text.replace("{title}", TITLES[code]) for name, text in table.items() if isinstance(text, str)}
    return own | {"take_away_address": f"{TAKE_AWAY}/{code}"}


class ServiceDouble:
    """A service on a port of its own. What it says depends on a word in the question; anything else is answered."""

    def __init__(self) -> None:
        self.port = _free_port()
        self.reset()
        self._app = self._build()
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def reset(self) -> None:
        """Forget what was asked, and answer as at the start."""
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.thumbs: list[dict[str, Any]] = []
        self.spoken: list[dict[str, Any]] = []
        self.recordings: list[tuple[str, str, int]] = []
        self.heard = "Where was he born?"
        self.engine = True
        self.voice = True
        self.reading_s = 0.2
        self.cancelled = 0
        self.word_s = 0.03
        self.first_word_s = 0.1

    def start(self) -> None:
        """Answer at `url` until `stop`."""
        config = uvicorn.Config(self._app, host="127.0.0.1", port=self.port, log_level="critical", lifespan="off")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        _wait_until(lambda: self._server is not None and self._server.started)

    def stop(self) -> None:
        """Die as a killed process does: whatever is under way breaks off."""
        if self._server and self._thread:
            self._server.should_exit = self._server.force_exit = True
            self._thread.join(10)
            self._server = None

    def start_again(self) -> None:
        """Answer once more, if `stop` was called."""
        if self._server is None:
            self.start()

    async def until_cancelled(self, times: int) -> None:
        """Wait until so many answers were broken off by whoever listened."""
        await self.until(lambda: self.cancelled >= times)

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait for what somebody else's touch will bring about here."""
        until = time.monotonic() + 20
        while not true():
            assert time.monotonic() < until, f"waited too long: {vars(self)}"
            await asyncio.sleep(0.02)

    def _build(self) -> FastAPI:
        app = FastAPI()

        @app.get("/live")
        async def live() -> dict[str, bool]:
            return {"live": True}

        @app.get("/topic")
        async def get_topic() -> dict[str, Any]:
            return topic()

        @app.get("/ready")
        async def ready() -> Response:
            return JSONResponse({"ready": True, "release": "r7"}) if self.engine else _problem(503, [])

        @app.get("/sources/{id}")
        async def source(id: str) -> Response:
            if id != "birth":
                return _problem(404, [])
            body = {"id": id, "title": SOURCE["en"], "section": "Birth", "text": PASSAGE, "lang": "en"}
            return JSONResponse(body)

        @app.post("/feedback")
        async def feedback(request: Request) -> Any:
            self.thumbs.append(await request.json())
            return self.thumbs[-1]

        @app.post("/speak")
        async def speak(request: Request) -> Response:
            self.spoken.append(await request.json())
            return Response(silence(self.reading_s), media_type="audio/wav") if self.voice else _problem(503, [])

        @app.post("/listen")
        async def listen(request: Request, lang: str) -> Response:
            recording = await request.body()
            self.recordings.append((lang, request.headers["content-type"], len(recording)))
            return JSONResponse({"text": self.heard}) if self.voice else _problem(503, [])

        @app.post("/ask")
        async def ask(request: Request) -> Response:
            body = await request.json()
            self.asked.append(body)
            self.keys.append(request.headers.get("authorization"))
            if "__down__" in body["question"]:
                return _problem(503, [SUGGESTIONS[body["language"]][3]])
            return StreamingResponse(self._stream(body), media_type="text/event-stream")

        return app

    async def _stream(self, body: dict[str, Any]) -> AsyncIterator[str]:
        try:
            async for event, data in self._events(body["question"], body["language"]):
                yield f"event: {event}\ndata: {json.dumps(data)}\n\n" if event else ": still here\n\n"
        except (asyncio.CancelledError, GeneratorExit):
            self.cancelled += 1
            raise

    async def _events(self, question: str, language: str) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        words, done = script(question, language)
        yield "meta", {"id": "1", "gate": done["gate"], "release": None}
        for _ in range(int(self.first_word_s)):  # as the real service: no silence that looks like the end of it
            await asyncio.sleep(1)
            yield "", {}
        await asyncio.sleep(self.first_word_s % 1)
        said = words.split(" ")
        for word in itertools.cycle(said) if "__endless__" in question else said:
            yield "delta", {"text": word + " "}
            await asyncio.sleep(self.word_s)
        if "__break__" in question:
            raise RuntimeError("breaks off in the middle of an answer")
        if "__error__" in question:
            yield "error", {"type": "about:blank", "title": "Engine stopped", "status": 502, "detail": "Traceback"}
            return
        if "__replace__" in question:
            yield "replace", {"text": "Checked: "}
        yield "done", done


def silence(seconds: float) -> bytes:
    """A WAV that says nothing for so long."""
    made = io.BytesIO()
    with wave.open(made, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(16_000)
        sound.writeframes(bytes(int(16_000 * seconds) * 2))
    return made.getvalue()


def script(question: str, language: str) -> tuple[str, dict[str, Any]]:
    """The words streamed for a question, and the finished body."""
    own = texts(language)
    chips = SUGGESTIONS[language]
    if "football" in question or "bóng đá" in question:
        return "", _done("declined", own["refusal"], language, suggestions=chips[1:])
    if "house" in question or "nhà" in question:
        return "", _done("unsure", own["unsure"], language, suggestions=chips[:3])
    if "__html__" in question:
        return HOSTILE, _done("answered", HOSTILE, language)
    if "__long__" in question:
        long = " ".join([BORN[language]] * 6)
        return long, _done("answered", long, language)
    if "__replace__" in question:
        return "wrong words", _done("answered", "Checked: he was born in 1890.", language)
    source = [{"id": "birth", "title": SOURCE[language], "section": "birth"}]
    return BORN[language], _done("answered", BORN[language], language, sources=source, suggestions=chips[1:])


def _done(outcome: str, answer: str, language: str, **more: Any) -> dict[str, Any]:
    gate = {"on_topic": outcome in ("answered", "unsure"), "score": 0.9, "kind": "topic"}
    return {
        "id": "1", "outcome": outcome, "answer": answer, "source": "model", "sources": [], "suggestions": [],
        "gate": gate, "release": None, "timings": None, "lang": language, "check": None, **more,
    }  # fmt: skip


def _problem(status: int, suggestions: list[str]) -> Response:
    body = {"type": "about:blank", "title": "Resting", "status": status, "detail": "no", "suggestions": suggestions}
    return JSONResponse(body, status, media_type="application/problem+json")


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def _wait_until(true: Any, timeout_s: float = 20.0) -> None:
    until = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < until, "waited too long"
        time.sleep(0.02)
