"""Answers read aloud and spoken questions written down, by an engine on the museum's own machine. Nothing is kept.

Speech                       which languages, speak, listen
├── Espeak                   reads aloud with Debian's espeak-ng; does not listen
└── RemoteSpeech             asks another program on HTTP for both, such as one around Piper and Whisper
"""

from __future__ import annotations

import asyncio
import io
import logging
import re
import shutil
import time
import wave
from dataclasses import dataclass
from typing import Protocol

import httpx
from pydantic import BaseModel, Field, ValidationError

from service.settings import Settings, SettingsError

log = logging.getLogger(__name__)

LONGEST_TEXT = 1000
"""Characters read aloud at once; the kiosk sends a sentence at a time."""
LARGEST_RECORDING = 2_000_000
"""Bytes of a spoken question: half a minute in any usual format."""
LARGEST_READING = 20_000_000
"""Bytes taken of an engine's reading."""
TIME_LIMIT_S = 20.0
"""For one reading or one spoken question, its wait for others included."""

_ESPEAK = "espeak-ng"
_WORDS_A_MINUTE = "150"  # a little slower than the program's own 175: a gallery is loud, and not everybody is young
_AT_ONCE = 4
_VOICES_TIMEOUT_S = 1.0
_VOICES_KEPT_S = 30.0
_PHONEMES = str.maketrans({"[": "(", "]": ")"})  # to espeak-ng, [[ ]] hold phonemes and no words


class SpeechError(RuntimeError):
    """The engine read nothing, or understood nothing; the message is for the operator and holds no visitor's words."""


class Voices(BaseModel):
    """Languages that are read aloud, and languages that are understood when spoken."""

    speak: frozenset[str] = frozenset()
    listen: frozenset[str] = frozenset()

    def among(self, languages: tuple[str, ...]) -> Voices:
        """Those of `languages` that there is a voice for; `zh-Hant` is read by a voice for `zh`."""

        def known(codes: frozenset[str]) -> frozenset[str]:
            return frozenset(code for code in languages if code in codes or code.split("-")[0] in codes)

        return Voices(speak=known(self.speak), listen=known(self.listen))


@dataclass(frozen=True)
class Audio:
    """Sound, and the media type it is in."""

    sound: bytes
    media_type: str


class Speech(Protocol):
    """A speech engine. Whoever asks has looked at `voices` first."""

    async def voices(self) -> Voices:
        """What the engine can do just now. Never raises."""

    async def speak(self, text: str, lang: str) -> Audio:
        """`text` read aloud, or a `SpeechError`."""

    async def listen(self, recording: Audio, lang: str) -> str:
        """What was said in a recording, or a `SpeechError`."""

    async def close(self) -> None:
        """Let go of connections."""


def open_speech(settings: Settings) -> Speech | None:
    """The engine that `DOCENT_SPEECH` names; None where there is to be no speech."""
    if not settings.speech:
        return None
    if settings.speech != _ESPEAK:
        return RemoteSpeech(settings.speech)
    if not shutil.which(_ESPEAK):
        raise SettingsError(
            "DOCENT_SPEECH=espeak-ng: there is no such program; install it (Debian: sudo apt-get install espeak-ng), "
            "or leave the setting out"
        )
    return Espeak()


class Espeak:
    """Debian's espeak-ng, a process for each sentence. The words go through its standard input, never to a disk."""

    def __init__(self) -> None:
        self._voices: Voices | None = None
        self._few = asyncio.Semaphore(_AT_ONCE)

    async def voices(self) -> Voices:
        """Every language the program lists, asked once."""
        if self._voices is None:
            try:
                listed = (await self._run("--voices")).decode("utf-8", "replace")
            except SpeechError as error:
                log.warning("%s", error)
                return Voices()
            self._voices = Voices(speak=frozenset(_languages(listed)))
        return self._voices

    async def speak(self, text: str, lang: str) -> Audio:
        """`text` read aloud, as WAV."""
        known = (await self.voices()).speak
        voice = lang if lang in known else lang.split("-")[0]
        said = await self._run(
            "-v", voice, "-s", _WORDS_A_MINUTE, "-b", "1", "--stdin", "--stdout", words=text.translate(_PHONEMES)
        )
        return Audio(_with_length(said), "audio/wav")

    async def listen(self, recording: Audio, lang: str) -> str:
        """Always a `SpeechError`: the program only speaks."""
        raise SpeechError("espeak-ng does not listen")

    async def close(self) -> None:
        """Nothing is open between two sentences."""

    async def _run(self, *arguments: str, words: str = "") -> bytes:
        try:
            async with asyncio.timeout(TIME_LIMIT_S), self._few:
                return await _output(arguments, words)
        except (OSError, TimeoutError) as error:
            raise SpeechError(f"espeak-ng: {type(error).__name__}") from error


async def _output(arguments: tuple[str, ...], words: str) -> bytes:
    pipe, nowhere = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(_ESPEAK, *arguments, stdin=pipe, stdout=pipe, stderr=nowhere)
    try:
        said, _ = await process.communicate(words.encode())
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode or not said:
        raise SpeechError(f"espeak-ng ended with {process.returncode} and said nothing")
    return said


def _languages(listed: str) -> set[str]:
    """The codes in what `espeak-ng --voices` prints; MBROLA's voices are listed whether or not they are installed."""
    rows = [line for line in listed.splitlines()[1:] if " mb/" not in line]
    return {code for row in rows for code in [row.split()[1], *re.findall(r"\((\S+) \d+\)", row)]}


def _with_length(streamed: bytes) -> bytes:
    """A WAV whose head says how long it is; the program writes it before it knows."""
    with wave.open(io.BytesIO(streamed)) as read:
        form, samples = read.getparams(), read.readframes(len(streamed))
    made = io.BytesIO()
    with wave.open(made, "wb") as written:
        written.setparams(form)
        written.writeframes(samples)
    return made.getvalue()


class _Heard(BaseModel):
    text: str = Field(max_length=LONGEST_TEXT)


class RemoteSpeech:
    """A program at an address: `GET /voices`, `POST /speak`, `POST /listen`, as in docs/operations.md."""

    def __init__(self, url: str, transport: httpx.AsyncBaseTransport | None = None) -> None:
        # A proxy meant for the internet must not stand between two programs of one machine.
        self._http = httpx.AsyncClient(base_url=url, timeout=TIME_LIMIT_S, transport=transport, trust_env=False)
        self._voices, self._asked_at = Voices(), -_VOICES_KEPT_S

    async def voices(self) -> Voices:
        """What the program says, asked anew every half minute; none while it does not answer."""
        if time.monotonic() - self._asked_at < _VOICES_KEPT_S:
            return self._voices
        self._asked_at = time.monotonic()
        try:
            reply = await self._http.get("/voices", timeout=_VOICES_TIMEOUT_S)
            self._voices = Voices.model_validate_json(reply.raise_for_status().content)
        except (httpx.HTTPError, ValidationError) as error:
            log.warning("no voices from the speech engine: %s", type(error).__name__)
            self._voices = Voices()
        return self._voices

    async def speak(self, text: str, lang: str) -> Audio:
        """`text` read aloud, in whatever format the program gives."""
        request = self._http.build_request("POST", "/speak", json={"text": text, "lang": lang})
        media_type, sound = await self._reply(request)
        if not media_type.startswith("audio/"):
            raise SpeechError(f"the speech engine gave {media_type or 'no media type'}, and not audio")
        return Audio(sound, media_type)

    async def listen(self, recording: Audio, lang: str) -> str:
        """What was said in a recording."""
        head = {"Content-Type": recording.media_type}
        request = self._http.build_request(
            "POST", "/listen", params={"lang": lang}, content=recording.sound, headers=head
        )
        _, body = await self._reply(request)
        try:
            return _Heard.model_validate_json(body).text
        except ValidationError as error:
            raise SpeechError("the speech engine's reply to /listen is not {text}") from error

    async def close(self) -> None:
        """Let go of connections."""
        await self._http.aclose()

    async def _reply(self, request: httpx.Request) -> tuple[str, bytes]:
        try:
            async with asyncio.timeout(TIME_LIMIT_S):
                reply = await self._http.send(request, stream=True)
                try:
                    return reply.raise_for_status().headers.get("content-type", ""), await _bounded(reply)
                finally:
                    await reply.aclose()
        except (httpx.HTTPError, TimeoutError) as error:
            raise SpeechError(f"the speech engine: {type(error).__name__}") from error


async def _bounded(reply: httpx.Response) -> bytes:
    body = bytearray()
    async for chunk in reply.aiter_bytes():
        body += chunk
        if len(body) > LARGEST_READING:
            raise SpeechError(f"the speech engine's reply is longer than {LARGEST_READING} bytes")
    return bytes(body)
