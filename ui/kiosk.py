"""The page itself: Gradio components, and the few handlers that draw a visit on them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Any

import gradio as gr
from fastapi import FastAPI

from ui.client import Exchange, HttpService, Service
from ui.doors import doors
from ui.drawing import conversation, greeting, header
from ui.errors import ServiceError
from ui.pin import Lock
from ui.settings import Settings
from ui.shell import Shell
from ui.visit import CHIPS, LONGEST_QUESTION, End, Mail, Visit
from ui.watch import Watch
from ui.words import literal, one_line, typeset

log = logging.getLogger(__name__)

ANSWER_LIMIT_S = 60.0
"""The longest a visitor waits for the end of an answer."""
REDRAW_S = 0.06
"""Between two drawings of a growing answer; faster looks no smoother and costs the browser work."""
SCREENS = 16
"""Answers on their way at once. Gradio's own limit is 1, with which two screens would wait for each other."""
VISITS = 256
"""Visits kept at most, should a browser vanish without a goodbye; the oldest go first."""

Updates = dict[Any, Any]


def build_app(settings: Settings, client: Service | None = None) -> Shell:
    """The kiosk as an ASGI app. `client` takes the place of the service in tests."""
    service = client or HttpService(settings)
    watch = Watch(service)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await service.close()

    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)

    lock = Lock(settings.staff_pin.get_secret_value()) if settings.staff_pin else None
    app.include_router(doors(service, watch, lock))
    screen = Screen(service, watch)
    gr.mount_gradio_app(
        app,
        screen.page,
        path="/",
        footer_links=[],
        # On by default: it keeps every question in the browser and shows it to the next visitor.
        run_history=False,
        show_error=False,
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
        # Names of installed fonts only; a GoogleFont would be fetched from the internet.
        theme=gr.themes.Base(font=["Noto Sans", "sans-serif"], font_mono=["Noto Sans Mono", "monospace"]),
    )
    gradio_app: Any = app.routes[-1].app  # type: ignore[attr-defined]
    return Shell(app, watch, settings, let_go=gradio_app.stop_event.set)


def mount_kiosk(host: FastAPI, path: str, settings: Settings, client: Service | None = None) -> Shell:
    """The same page inside another app, at `path`; it starts and ends with that app.

    Open pages hold a connection each. `let_go` of what is returned ends those, when the server is told to end.
    """
    kiosk = build_app(settings, client)
    host.mount(path, kiosk)
    own_life = host.router.lifespan_context

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[Any]:
        async with own_life(app) as state, kiosk.running():
            yield state

    host.router.lifespan_context = lifespan
    return kiosk


class Screen:
    """Draws visits on one page of components. What a component shows is always a function of the visit."""

    def __init__(self, service: Service, watch: Watch) -> None:
        self._service = service
        self._watch = watch
        self._visits: dict[str, Visit] = {}
        self.page = self._lay_out()

    def _lay_out(self) -> gr.Blocks:
        page: gr.Blocks
        with gr.Blocks(title="…", analytics_enabled=False, fill_width=True, fill_height=True) as page:
            with gr.Column(elem_id="k-page"):
                self.header = gr.Markdown(elem_id="k-header", latex_delimiters=[], container=False)
                self.messages = gr.Chatbot(
                    elem_id="k-chat",
                    label="…",
                    show_label=False,
                    container=False,
                    buttons=[],
                    feedback_options=None,
                    latex_delimiters=[],
                    allow_tags=False,
                    height=None,
                    layout="bubble",
                )
                with gr.Column(elem_id="k-controls"):
                    self.try_these = gr.Markdown(elem_id="k-try", latex_delimiters=[], container=False)
                    with gr.Row(elem_id="k-chips"):
                        self.chips = [
                            gr.Button("", elem_id=f"k-chip-{n}", elem_classes="k-chip", visible=False)
                            for n in range(CHIPS)
                        ]
                    with gr.Row(elem_id="k-bar"):
                        self.box = gr.Textbox(
                            elem_id="k-box",
                            label="…",
                            show_label=False,
                            container=False,
                            lines=1,
                            max_lines=1,
                            max_length=LONGEST_QUESTION,
                            html_attributes=gr.InputHTMLAttributes(
                                autocomplete="off", autocorrect="off", spellcheck=False
                            ),
                        )
                        # The page's script listens; the server only learns what was understood, when it is asked.
                        self.listen = gr.Button("", elem_id="k-listen", visible=False)
                        self.ask_button = gr.Button("", elem_id="k-ask")
                        self.stop_button = gr.Button("", elem_id="k-stop", visible=False)
                    with gr.Row(elem_id="k-foot"):
                        self.over = gr.Button("", elem_id="k-over")
                        # The page's script knows what these two do; the server has no part in it.
                        self.size = gr.Button("", elem_id="k-size")
                        self.take_away = gr.Button("", elem_id="k-take", visible=False)
                        self.languages = gr.Radio(
                            [], label="…", elem_id="k-languages", show_label=False, container=False
                        )
            self._wire(page)
        page.queue(max_size=64, api_open=False)
        return page

    def _wire(self, page: gr.Blocks) -> None:
        everything = [
            self.header, self.messages, self.try_these, *self.chips, self.box,
            self.listen, self.ask_button, self.stop_button, self.over, self.size, self.take_away, self.languages,
        ]  # fmt: skip
        quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        asking: dict[str, Any] = {
            **quiet, "outputs": everything, "concurrency_id": "ask", "concurrency_limit": SCREENS,
            # Gradio would drop a touch that comes between the last drawing of an answer and the end of its event.
            "trigger_mode": "multiple",
        }  # fmt: skip
        for chip in self.chips:
            chip.click(self._ask_chip, inputs=[chip], **asking)
        self.ask_button.click(self._ask_box, inputs=[self.box], **asking)
        self.box.submit(self._ask_box, inputs=[self.box], **asking)
        # Two quick touches are taken one after the other, and the last one holds.
        last: dict[str, Any] = {**quiet, "trigger_mode": "always_last"}
        # Stop and the languages must get through while answers fill the queue.
        self.stop_button.click(self._stop, queue=False, **quiet)
        self.languages.input(self._speak, inputs=[self.languages], outputs=everything, queue=False, **last)
        # Through the queue, although it could do without: Gradio's queue holds on to the last event it started, and so
        # to a visitor's question, until the next one. After Start over that is this one.
        page.load(self._welcome, outputs=everything, concurrency_limit=SCREENS, **quiet)
        page.unload(self._forget)

    # What visitors do

    async def _welcome(self, request: gr.Request) -> Updates:
        topic = await self._watch.refresh()
        if topic is None:  # the resting screen lies over the page, and loads it again when the service is back
            return {self.box: gr.update()}
        visit = self._visits[_key(request)] = Visit.begin(topic)
        while len(self._visits) > VISITS:
            self._visits.pop(next(iter(self._visits)))
        return self._all(visit) | {
            self.languages: gr.update(
                choices=[(language.name, language.code) for language in topic.languages],
                value=visit.language,
                label=" · ".join(language.name for language in topic.languages),
            )
        }

    async def _ask_chip(self, question: str, request: gr.Request) -> AsyncIterator[Updates]:
        async with contextlib.aclosing(self._answer(question, request)) as drawings:
            async for drawing in drawings:
                yield drawing

    async def _ask_box(self, question: str, request: gr.Request) -> AsyncIterator[Updates]:
        async with contextlib.aclosing(self._answer(question, request)) as drawings:
            async for drawing in drawings:
                yield drawing

    async def _answer(self, question: str, request: gr.Request) -> AsyncGenerator[Updates]:
        """Ask, and draw the answer as it grows. A second question while one is being answered is not asked."""
        visit = self._visits.get(_key(request))
        asked = one_line(question or "")
        if visit is None or visit.busy or not asked:
            yield {self.box: gr.update()}  # nothing: what the screen shows belongs to the answer under way
            return
        history = visit.history()
        inbox = visit.ask(asked)
        listening = asyncio.create_task(self._listen(inbox, asked, history, visit.language))
        try:
            yield self._all(visit) | {self.box: gr.update(value="")}
            async for _ in _changes(visit, inbox):
                if not self._present(request, visit):
                    return
                yield {self.messages: gr.update(value=conversation(visit))}
        finally:
            listening.cancel()
            visit.inbox = None
        if self._present(request, visit):
            yield self._all(visit)

    def _present(self, request: gr.Request, visit: Visit) -> bool:
        """Whether the visit still has its page; a page that was left is not drawn on."""
        return self._visits.get(_key(request)) is visit

    async def _listen(
        self, inbox: asyncio.Queue[Mail], question: str, history: Sequence[Exchange], language: str
    ) -> None:
        """Put what the service says into `inbox`. Cancelling closes the connection, and so tells the service."""
        try:
            async with contextlib.aclosing(self._service.ask(question, history, language)) as events:
                async for event in events:
                    inbox.put_nowait(event)
        except ServiceError as error:
            log.warning("no answer: %s", error)
            inbox.put_nowait(error)
        finally:
            # Whatever happened, nobody waits for an answer that will not come.
            inbox.put_nowait(End())

    async def _stop(self, request: gr.Request) -> None:
        visit = self._visits.get(_key(request))
        if visit:
            visit.stop()

    async def _speak(self, language: str, request: gr.Request) -> Updates:
        visit = self._visits.get(_key(request))
        if visit is None:
            return {self.box: gr.update()}
        visit.speak(language)
        return self._words(visit)

    async def _forget(self, request: gr.Request) -> None:
        """The browser left the page: nothing of the visit stays in this process."""
        key = _key(request)
        visit = self._visits.pop(key, None)
        if visit and visit.busy:
            visit.stop()
            await asyncio.sleep(4 * REDRAW_S)  # the answer under way notices, and draws no more
        # Gradio would keep what the components of a left page showed until ten thousand others have come.
        self.page.state_holder.session_data.pop(key, None)

    # What visitors see

    def _all(self, visit: Visit) -> Updates:
        """The whole screen. Only an answer's own stream may draw it, and a page that has just been loaded.

        Replies to other touches travel apart from that stream and may arrive after its end: one that was drawn while
        the answer was under way would bring Stop back for good.
        """
        busy, words = visit.busy, self._words(visit)
        words[self.ask_button] |= gr.update(visible=not busy)
        words[self.stop_button] |= gr.update(visible=busy)
        for chip in self.chips:
            words[chip] |= gr.update(interactive=not busy)
        return words | {self.messages: words[self.messages] | gr.update(value=conversation(visit))}

    def _words(self, visit: Visit) -> Updates:
        """What hangs on the visitor's language, and not on whether an answer is under way."""
        texts = visit.texts
        chips = [*visit.chips, *[""] * CHIPS][:CHIPS]
        return {
            self.header: gr.update(value=header(visit)),
            self.messages: gr.update(placeholder=greeting(visit)),
            self.try_these: gr.update(value=literal(texts.try_these)),
            **{
                button: gr.update(value=typeset(chip), visible=bool(chip))
                for button, chip in zip(self.chips, chips, strict=True)
            },
            self.box: gr.update(placeholder=texts.placeholder, label=texts.your_question),
            self.listen: gr.update(value=texts.say, visible=visit.language in visit.topic.speech.listen),
            self.ask_button: gr.update(value=texts.ask),
            self.stop_button: gr.update(value=texts.stop),
            self.over: gr.update(value=texts.start_over),
            self.size: gr.update(value=texts.larger_text),
            self.take_away: gr.update(value=texts.take_away, visible=bool(texts.take_away_address)),
        }


async def _changes(visit: Visit, inbox: asyncio.Queue[Mail]) -> AsyncIterator[None]:
    """Hand the mail to the visit until its answer has ended; yields each time the screen should be drawn again."""
    clock = asyncio.get_running_loop().time
    until = clock() + ANSWER_LIMIT_S
    more = True
    while more:
        try:
            mail = await asyncio.wait_for(inbox.get(), timeout=until - clock())
        except TimeoutError:
            mail = End()
        more = visit.take(mail)
        while more and not inbox.empty():
            more = visit.take(inbox.get_nowait())
        if more:
            yield
            await asyncio.sleep(REDRAW_S)


def _key(request: gr.Request) -> str:
    """Which screen is asking; Gradio gives each loaded page its own."""
    return request.session_hash or ""
