"""The operator's book, in SQLite and in PostgreSQL: what it keeps, what it forgets, and that no answer waits for it."""

import asyncio
import contextlib
import re
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from pydantic import SecretStr
from sqlalchemy import URL, Engine, event, insert, select, text
from sqlalchemy.orm import Session

from service.answering import Ask, Done, Guide
from service.app import build_app, build_guide
from service.book import Book
from service.database import Base, Noted, book_url, bring_up_to_date, connect
from service.engine import ScriptedEngine
from service.metrics import Metrics
from service.schemas import AskReply
from service.settings import Settings, SettingsError, read_settings
from tests.conftest import LIGHTHOUSE
from topics.topic import load_topic

HIGH = "How high is Gull Rock Lighthouse?"
SECRET = "My name is Rumpelstiltskin, who won the league?"


@pytest.fixture
def configure(settings: Settings, database: str) -> Callable[..., Settings]:
    """A function that gives settings with the book in `database`."""
    return lambda **more: Settings.model_validate({**settings.model_dump(), "database_url": database, **more})


@pytest.fixture
def url(database: str) -> URL:
    return book_url(Settings(topic=str(LIGHTHOUSE), database_url=SecretStr(database)), load_topic(LIGHTHOUSE))


@contextlib.asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an app that runs; when it ends, the book is written to its end."""
    app = build_app(settings, engine=ScriptedEngine())
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://museum") as client:
            yield client


async def ask(client: httpx.AsyncClient, question: str) -> dict[str, Any]:
    reply = await client.post("/ask", json={"question": question})
    assert reply.status_code == 200
    return dict(reply.json())


@contextlib.contextmanager
def opened(url: URL) -> Iterator[Engine]:
    engine = connect(url)
    yield engine
    engine.dispose()


def lines(url: URL) -> list[Noted]:
    with opened(url) as engine, Session(engine) as session:
        return list(session.scalars(select(Noted).order_by(Noted.question)))


def write(url: URL, *rows: dict[str, Any]) -> None:
    """Lines of earlier days."""
    common = {
        "topic": "lighthouse", "release": "r", "outcome": "declined", "source": "policy", "lang": "en", "kind": "off",
        "score": 0.1,
    }  # fmt: skip
    with opened(url) as engine:
        bring_up_to_date(engine)
        with Session(engine) as session, session.begin():
            session.execute(insert(Noted), [{**common, **row} for row in rows])


def hours_ago(hours: float) -> datetime:
    return datetime.now(UTC).replace(tzinfo=None) - timedelta(hours=hours)


async def test_a_line_tells_how_it_went_and_holds_no_word(configure: Callable[..., Settings], url: URL) -> None:
    async with running(configure()) as client:
        high, other = await ask(client, HIGH), await ask(client, SECRET)
    by_id = {line.id: line for line in lines(url)}
    assert set(by_id) == {high["id"], other["id"]}
    told, refused = by_id[high["id"]], by_id[other["id"]]
    assert (told.outcome, told.kind, told.lang, told.fact) == ("answered", "topic", "en", high["sources"][0]["id"])
    assert (refused.outcome, refused.score) == (other["outcome"], other["gate"]["score"])
    assert told.total_ms == high["timings"]["total_ms"] and told.release == "stand-in"
    assert {(x.question, x.answer, x.rating) for x in by_id.values()} == {(None, None, None)}
    assert all((x.hour.minute, x.hour.second) == (0, 0) for x in by_id.values()), "no finer than the hour"
    assert "Rumpelstiltskin" not in on_disk(url)


def on_disk(url: URL) -> str:
    """Everything that SQLite's files hold; nothing of PostgreSQL's."""
    if url.get_backend_name() != "sqlite":
        return ""
    file = Path(str(url.database))
    return "".join(f.read_bytes().decode("latin-1") for f in file.parent.glob(f"{file.name}*"))


async def test_words_are_kept_for_their_days_and_no_longer(configure: Callable[..., Settings], url: URL) -> None:
    old, young = {"id": "old", "hour": hours_ago(49)}, {"id": "young", "hour": hours_ago(24)}
    another = {"id": "another", "hour": hours_ago(49), "topic": "a museum of its own"}
    write(url, *({**row, "question": f"{SECRET} {row['id']}", "answer": "No."} for row in (old, young, another)))
    async with running(configure(book="words", book_days=2)) as client:
        asked = await ask(client, HIGH)
        topic = (await client.get("/topic")).json()
    kept = {line.id: (line.question, line.answer) for line in lines(url)}
    assert kept["old"] == (None, None), "the line stays, its words are gone"
    assert kept["young"] == (f"{SECRET} young", "No.")
    assert kept["another"] == (f"{SECRET} another", "No."), "another museum in the same database has days of its own"
    assert kept[asked["id"]] == (HIGH, asked["answer"])
    assert f"{SECRET} old" not in on_disk(url), "overwritten, not only unlinked"
    assert topic["words_kept_days"] == 2 and "2 days" in topic["texts"]["en"]["words_kept"]


@pytest.mark.parametrize("keeps", ["counts", "off"])
async def test_who_keeps_words_no_longer_deletes_those_there_are(
    configure: Callable[..., Settings], url: URL, keeps: str
) -> None:
    write(url, {"id": "young", "hour": hours_ago(0), "question": SECRET, "answer": "No."})
    async with running(configure(book=keeps)) as client:
        topic = (await client.get("/topic")).json()
    assert [(x.id, x.question, x.answer) for x in lines(url)] == [("young", None, None)]
    assert SECRET not in on_disk(url)
    assert topic["words_kept_days"] is None and "words_kept" not in topic["texts"]["en"]
    assert topic["feedback"] is (keeps == "counts")


async def test_off_keeps_nothing_at_all(settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "none.sqlite3"
    off = Settings.model_validate({**settings.model_dump(), "book": "off", "database_url": f"sqlite:///{file}"})
    async with running(off) as client:
        asked = await ask(client, HIGH)
        reply = await client.post("/feedback", json={"id": asked["id"], "rating": "up"})
    assert reply.status_code == 404 and "keeps no ratings" in reply.json()["detail"]
    assert not file.exists()


async def test_a_thumb_is_kept_and_the_last_one_counts(configure: Callable[..., Settings], url: URL) -> None:
    async with running(configure()) as client:
        asked = await ask(client, HIGH)
        for rating in ("up", "down"):
            # Sent at once: the answer may still be on its way into the book.
            reply = await client.post("/feedback", json={"id": asked["id"], "rating": rating})
            assert (reply.status_code, reply.json()) == (200, {"id": asked["id"], "rating": rating})
        unknown = await client.post("/feedback", json={"id": "0" * 32, "rating": "up"})
        metrics = (await client.get("/metrics")).text
    assert [line.rating for line in lines(url)] == ["down"]
    assert unknown.status_code == 404 and "send the `id` that came with an answer" in unknown.json()["detail"]
    assert unknown.headers["content-type"] == "application/problem+json"
    assert 'docent_book_rows_total{result="dropped"} 0.0' in metrics


BAD = [
    (b"{", 400, 'send {"id": "…", "rating": "up"}'),
    (b"[]", 422, "the body"),
    (b"{}", 422, "id: field required"),
    (b'{"id": 7, "rating": "up"}', 422, "id: "),
    (b'{"id": "../../etc", "rating": "up"}', 422, "id: is no answer's id; send the `id`"),
    (b'{"id": "\\u0000", "rating": "up"}', 422, "id: is no answer's id"),
    (b'{"id": "00000000000000000000000000000000"}', 422, "rating: field required"),
    (b'{"id": "00000000000000000000000000000000", "rating": "sideways"}', 422, "'up' or 'down'"),
    (b'{"id": "00000000000000000000000000000000", "rating": 1}', 422, "'up' or 'down'"),
    (b'{"id": "00000000000000000000000000000000", "rating": "up", "who": "me"}', 422, "send id and rating"),
    (b" " * 1_000_001, 413, "longer than"),
]


@pytest.mark.parametrize(("body", "status", "detail"), BAD, ids=[str(i) for i in range(len(BAD))])
async def test_a_thumb_that_is_none_gets_a_sentence(
    client: httpx.AsyncClient, body: bytes, status: int, detail: str
) -> None:
    reply = await client.post("/feedback", content=body, headers={"content-type": "application/json"})
    assert reply.status_code == status
    assert detail in reply.json()["detail"]


async def test_thumbs_have_the_rate_of_questions(settings: Settings) -> None:
    app = build_app(settings.model_copy(update={"rate_limit": "3/hour"}), engine=ScriptedEngine())
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, client=("10.0.0.7", 4711))
        async with httpx.AsyncClient(transport=transport, base_url="http://museum") as client:
            thumbs = [await client.post("/feedback", json={"id": "0" * 32, "rating": "up"}) for _ in range(4)]
    assert [reply.status_code for reply in thumbs] == [404, 404, 404, 429]


class Writing:
    """A book with little patience, the guide that writes it, and its metrics."""

    def __init__(self, settings: Settings, url: URL, **more: Any) -> None:
        guide = build_guide(settings, ScriptedEngine())
        self.metrics = Metrics()
        self.book = Book(
            url, topic="lighthouse", keeps="words", days=9, metrics=self.metrics, **{"patience_s": 0.3, **more}
        )
        self.guide: Guide = replace(guide, book=self.book)

    async def ask(self, question: str = SECRET) -> AskReply:
        return [e.reply async for e in self.guide.answer(Ask(question)) if isinstance(e, Done)][0]

    def rows(self, result: str) -> float:
        found = self.metrics.registry.get_sample_value("docent_book_rows_total", {"result": result})
        assert found is not None
        return found

    async def until(self, result: str, rows: int) -> None:
        async with asyncio.timeout(20):
            while self.rows(result) < rows:
                await asyncio.sleep(0.02)


@contextlib.contextmanager
def locked(url: URL) -> Iterator[None]:
    """Another program holds the book, for writing at least."""
    with opened(url) as engine, engine.connect() as connection:
        if url.get_backend_name() == "sqlite":
            connection.rollback()
            connection.connection.cursor().execute("BEGIN EXCLUSIVE")
        else:
            connection.execute(text("LOCK TABLE answers IN ACCESS EXCLUSIVE MODE"))
        yield
        connection.connection.rollback()


async def test_a_locked_book_costs_lines_and_delays_no_answer(
    settings: Settings, url: URL, caplog: pytest.LogCaptureFixture
) -> None:
    writing = Writing(settings, url)
    writing.book.start()
    await writing.ask()
    await writing.until("written", 1)
    with locked(url):
        answers = [await writing.ask() for _ in range(30)]
        assert all(reply.answer for reply in answers), "told while the lock was held"
        with pytest.raises(Exception, match="please send it again") as refused:
            await writing.book.rate(answers[0].id, "up")
        assert refused.value.status == 503  # type: ignore[attr-defined]
        await writing.until("dropped", 31)
    after = await writing.ask()
    await writing.book.rate(after.id, "up")
    writing.book.close()
    assert (writing.rows("written"), writing.rows("dropped")) == (3, 31)
    assert len(lines(url)) == 2
    errors = [r.getMessage() for r in caplog.records if r.levelname == "ERROR"]
    assert len(errors) == 1 and "lock" in errors[0], "one line, whatever the number of lost ones"
    assert "Rumpelstiltskin" not in caplog.text


async def test_a_full_disk_costs_lines_and_delays_no_answer(settings: Settings, tmp_path: Path) -> None:
    url = URL.create("sqlite", database=str(tmp_path / "book.sqlite3"))
    writing = Writing(settings, url)
    room: list[int] = [12]

    @event.listens_for(writing.book._engine, "begin")
    def a_small_disk(connection: Any) -> None:
        connection.exec_driver_sql(f"PRAGMA max_page_count = {room[0]}")

    writing.book.start()
    for _ in range(200):
        await writing.ask()
    await writing.until("dropped", 1)
    room[0] = 1000
    dropped = writing.rows("dropped")
    await writing.ask("And now?")
    await writing.until("written", 1)
    writing.book.close()
    assert writing.rows("dropped") >= dropped
    assert writing.rows("written") + writing.rows("dropped") == 201
    assert "And now?" in {line.question for line in lines(url)}, "there is room again"


async def test_a_book_that_cannot_be_opened_stops_nothing(
    settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "later"
    writing = Writing(settings, URL.create("sqlite", database=str(folder / "book.sqlite3")))
    writing.book.start()
    await writing.ask()
    await writing.until("dropped", 1)
    assert "No such file or directory" in caplog.text
    folder.mkdir()
    await writing.ask()
    await writing.until("written", 1)
    writing.book.close()


async def test_a_server_that_is_away_stops_nothing(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    away = URL.create("postgresql+psycopg", "docent", "open sesame", "127.0.0.1", 1, "book")
    writing = Writing(settings, away)
    writing.book.start()
    await writing.ask()
    await writing.until("dropped", 1)
    writing.book.close()
    assert "Connection refused" in caplog.text
    assert "open sesame" not in caplog.text and "Rumpelstiltskin" not in caplog.text


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
async def test_a_broken_connection_is_made_again(settings: Settings, url: URL) -> None:
    writing = Writing(settings, url)
    writing.book.start()
    await writing.ask()
    await writing.until("written", 1)
    with opened(url) as engine, engine.connect() as connection:
        mine = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
        connection.execute(text(f"{mine} AND pid <> pg_backend_pid()"))
    await writing.ask()
    await writing.until("written", 2)
    writing.book.close()


async def test_the_line_for_the_book_is_bounded(settings: Settings, tmp_path: Path) -> None:
    writing = Writing(settings, URL.create("sqlite", database=str(tmp_path / "book.sqlite3")), waiting=5)
    for _ in range(8):
        await writing.ask()
    assert writing.rows("dropped") == 3
    writing.book.start()
    writing.book.close()
    assert writing.rows("written") == 5, "what waits is written before the end"


def test_migrations_make_what_the_code_reads_and_run_twice(url: URL) -> None:
    write(url, {"id": "a", "hour": hours_ago(1)})
    with opened(url) as engine:
        bring_up_to_date(engine)
        with engine.connect() as connection:
            assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
    assert [line.id for line in lines(url)] == ["a"]


def test_migrations_only_add() -> None:
    files = list((Path(__file__).parents[2] / "service" / "migrations" / "versions").glob("*.py"))
    assert files
    for file in files:
        done = set(re.findall(r"\bop\.(\w+)", file.read_text(encoding="utf-8")))
        assert done and done <= {"create_table", "create_index", "add_column"}, file.name


async def test_a_newer_book_is_left_alone(settings: Settings, url: URL, caplog: pytest.LogCaptureFixture) -> None:
    write(url, {"id": "a", "hour": hours_ago(1)})
    with opened(url) as engine, engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    writing = Writing(settings, url)
    writing.book.start()
    await writing.ask()
    await writing.until("dropped", 1)
    writing.book.close()
    assert "a newer Docent wrote it" in caplog.text
    assert [line.id for line in lines(url)] == ["a"]


async def test_two_services_may_begin_a_book_together(configure: Callable[..., Settings], url: URL) -> None:
    async with running(configure()) as one, running(configure()) as other:
        first = await ask(one, HIGH)
        await ask(other, HIGH)
        for _ in range(20):
            reply = await other.post("/feedback", json={"id": first["id"], "rating": "up"})
            if reply.status_code == 200:
                break
            await asyncio.sleep(0.05)  # until the other one has written down what was asked
    assert {line.rating for line in lines(url)} == {"up", None}, "either service takes the thumb"


def test_the_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "book.sqlite3"
    write(URL.create("sqlite", database=str(file)), {"id": "a", "hour": hours_ago(1)})
    assert file.stat().st_mode & 0o077 == 0
    with contextlib.closing(sqlite3.connect(file)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


@pytest.mark.parametrize(
    "address",
    ["nonsense", "mysql://u:open-sesame@h/b", "sqlite://", "sqlite:///:memory:", "postgresql://u:open-sesame@h:port/b"],
)
def test_a_wrong_address_is_refused_without_its_password(address: str) -> None:
    wrong = read_settings({"DOCENT_DATABASE_URL": address})
    with pytest.raises(SettingsError, match=r"DOCENT_DATABASE_URL: .*sqlite:////folder") as refused:
        book_url(wrong, load_topic(LIGHTHOUSE))
    assert "open-sesame" not in str(refused.value) + repr(wrong)


def test_without_an_address_the_book_lies_beside_the_releases(settings: Settings, stand_in_release: Path) -> None:
    found = book_url(settings, load_topic(LIGHTHOUSE))
    assert found.database == str(stand_in_release.parent / "book.sqlite3")


async def test_openai_clients_are_noted_too(configure: Callable[..., Settings], url: URL) -> None:
    async with running(configure()) as client:
        body = {"model": "lighthouse", "messages": [{"role": "user", "content": HIGH}]}
        reply = (await client.post("/v1/chat/completions", json=body)).json()
        rated = await client.post("/feedback", json={"id": reply["docent"]["id"], "rating": "up"})
    assert rated.status_code == 200
    assert [line.rating for line in lines(url)] == ["up"]
