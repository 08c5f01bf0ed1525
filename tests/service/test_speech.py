"""Read aloud and listen: with Debian's espeak-ng itself, and with a speech engine at an address."""

import io
import shutil
import wave
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from service import speech as speech_module
from service.app import build_app
from service.settings import Settings, SettingsError, read_settings
from service.speech import LARGEST_RECORDING, LONGEST_TEXT, Audio, Espeak, RemoteSpeech, SpeechError, Voices
from tests.conftest import LIGHTHOUSE

needs_espeak = pytest.mark.skipif(
    not shutil.which("espeak-ng"), reason="no espeak-ng on this machine: install Debian's package `espeak-ng`"
)
WAV = b"RIFF and so on"


class Engine:
    """A speech engine at an address, which remembers what it was sent."""

    def __init__(self) -> None:
        self.voices: dict[str, list[str]] = {"speak": ["en"], "listen": ["en", "vi", "de"]}
        self.asked: list[httpx.Request] = []
        self.works = True

    def reply(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        if not self.works:
            return httpx.Response(500, text="Traceback")
        match request.url.path:
            case "/voices":
                return httpx.Response(200, json=self.voices)
            case "/speak":
                return httpx.Response(200, content=WAV, headers={"content-type": "audio/wav"})
        return httpx.Response(200, json={"text": "Where was he born?"})


@pytest.fixture
def engine_there() -> Engine:
    return Engine()


@pytest.fixture
async def client(stand_in_release: Path, engine_there: Engine) -> AsyncIterator[httpx.AsyncClient]:
    """A museum whose speech engine is `engine_there`."""
    app = build_app(Settings(topic=str(LIGHTHOUSE), release=str(stand_in_release), engine="scripted"))
    app.state.docent.speech = RemoteSpeech("http://voice", httpx.MockTransport(engine_there.reply))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://museum") as client:
        yield client


def samples(sound: bytes) -> int:
    with wave.open(io.BytesIO(sound)) as read:
        assert read.getnframes() * read.getsampwidth() * read.getnchannels() < len(sound)
        return read.getnframes()


@needs_espeak
async def test_espeak_reads_the_museums_five_languages() -> None:
    speech = Espeak()
    voices = (await speech.voices()).among(("en", "vi", "fr", "zh", "es", "xx"))
    assert voices == Voices(speak=frozenset({"en", "vi", "fr", "zh", "es"}))
    words = {"en": "He was born in 1890.", "vi": "Người sinh năm 1890.", "zh": "他出生于1890年。"}
    for lang, text in words.items():
        one = await speech.speak(text, lang)
        twice = await speech.speak(f"{text} {text}", lang)
        assert one.media_type == "audio/wav" and samples(twice.sound) > 1.5 * samples(one.sound) > 10_000


@needs_espeak
async def test_what_looks_like_an_option_or_a_phoneme_is_only_words() -> None:
    speech = Espeak()
    for text in ("--voices", "-w /tmp/found.wav hello", "[[he'loU]] & <break time='9s'/>"):
        assert samples((await speech.speak(text, "en")).sound) > 1000


@needs_espeak
async def test_a_reading_through_the_service(stand_in_release: Path) -> None:
    settings = Settings(topic=str(LIGHTHOUSE), release=str(stand_in_release), engine="scripted", speech="espeak-ng")
    async with _asked(build_app(settings)) as client:
        assert (await client.get("/topic")).json()["speech"] == {"speak": ["en", "vi"], "listen": []}
        reply = await client.post("/speak", json={"text": "The lighthouse was built in 1852.", "lang": "en"})
        assert reply.status_code == 200 and reply.headers["content-type"] == "audio/wav"
        assert reply.headers["cache-control"] == "no-store" and samples(reply.content) > 10_000
        silent = await client.post("/listen", params={"lang": "en"}, content=b"x")
    assert silent.status_code == 404


def _asked(app: FastAPI) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://museum")


async def test_without_the_setting_there_is_no_speech(app: FastAPI) -> None:
    async with _asked(app) as client:
        assert (await client.get("/topic")).json()["speech"] == {"speak": [], "listen": []}
        reply = await client.post("/speak", json={"text": "Hello.", "lang": "en"})
    assert reply.status_code == 404 and "DOCENT_SPEECH" in reply.json()["detail"]


async def test_an_engine_at_an_address_reads_and_listens(client: httpx.AsyncClient, engine_there: Engine) -> None:
    assert (await client.get("/topic")).json()["speech"] == {"speak": ["en"], "listen": ["en", "vi"]}
    read = await client.post("/speak", json={"text": "Hello.", "lang": "en"})
    assert (read.status_code, read.content, read.headers["content-type"]) == (200, WAV, "audio/wav")
    heard = await client.post("/listen?lang=vi", content=b"sound", headers={"content-type": "audio/webm;codecs=opus"})
    assert heard.json() == {"text": "Where was he born?"}
    sent = engine_there.asked[-1]
    assert (sent.url.query, sent.content) == (b"lang=vi", b"sound")
    assert sent.headers["content-type"] == "audio/webm;codecs=opus"
    assert [request.url.path for request in engine_there.asked] == ["/voices", "/speak", "/listen"], "asked once"


async def test_an_engine_that_is_gone_takes_its_buttons_along(client: httpx.AsyncClient, engine_there: Engine) -> None:
    engine_there.works = False
    assert (await client.get("/topic")).json()["speech"] == {"speak": [], "listen": []}


async def test_an_engine_that_fails_is_said_kindly(
    client: httpx.AsyncClient, engine_there: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    await client.get("/topic")
    engine_there.works = False
    reply = await client.post("/speak", json={"text": "A secret.", "lang": "en"})
    assert reply.status_code == 503 and "Traceback" not in reply.text
    assert "HTTPStatusError" in caplog.text and "secret" not in caplog.text


@pytest.mark.parametrize(
    ("path", "body", "status", "says"),
    [
        ("/speak", {"json": {"text": "x" * (LONGEST_TEXT + 1), "lang": "en"}}, 422, "text: "),
        ("/speak", {"json": {"text": " ", "lang": "en"}}, 422, "text: is empty"),
        ("/speak", {"json": {"text": "Hello.", "lang": "de"}}, 404, "There are: en."),
        ("/listen?lang=de", {"content": b"x"}, 404, "There are: en, vi."),
        ("/listen?lang=en", {"content": b""}, 422, "send a recording"),
        ("/listen?lang=en", {"content": b"x" * (LARGEST_RECORDING + 1)}, 413, "longer than"),
    ],
)
async def test_what_cannot_be_spoken_is_refused(
    client: httpx.AsyncClient, path: str, body: dict[str, object], status: int, says: str
) -> None:
    reply = await client.post(path, **body)  # type: ignore[arg-type]
    assert reply.status_code == status and says in reply.json()["detail"]


async def test_a_reading_without_end_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speech_module, "LARGEST_READING", 5)
    for reply, says in (
        (httpx.Response(200, content=b"too much", headers={"content-type": "audio/wav"}), "longer than 5"),
        (httpx.Response(200, text="<p>"), "not audio"),
    ):
        speech = RemoteSpeech("http://voice", httpx.MockTransport(lambda _, reply=reply: reply))
        with pytest.raises(SpeechError, match=says):
            await speech.speak("Hello.", "en")
    speech = RemoteSpeech("http://voice", httpx.MockTransport(lambda _: httpx.Response(200, json=[])))
    with pytest.raises(SpeechError, match="/listen"):
        await speech.listen(Audio(b"x", "audio/wav"), "en")


def test_a_missing_program_is_named_at_the_start(
    stand_in_release: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    settings = Settings(topic=str(LIGHTHOUSE), release=str(stand_in_release), engine="scripted", speech="espeak-ng")
    with pytest.raises(SettingsError, match="apt-get install espeak-ng"):
        build_app(settings)
    with pytest.raises(SettingsError, match="DOCENT_SPEECH='espeak'"):
        read_settings({"DOCENT_SPEECH": "espeak"})
