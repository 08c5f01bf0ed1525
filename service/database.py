"""Where the operator's book lies: a SQLite file or PostgreSQL, its one table, and how it is brought up to date.

No address is in the table, and nothing tells two visitors apart.
"""

from __future__ import annotations

import threading
from datetime import datetime
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import URL, Engine, String, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from service.settings import Settings, SettingsError
from topics.release import find_release
from topics.topic import Topic

_MIGRATIONS = Path(__file__).parent / "migrations"
_FORMS = "sqlite:////folder/book.sqlite3 or postgresql://user:password@host/name"
# Alembic keeps the migration under way in a module; two at once in one process would mix.
_one_at_a_time = threading.Lock()


class BookError(RuntimeError):
    """There is no book to read; the message says where it was looked for, and why it cannot be read."""


class Base(DeclarativeBase):
    """What the migrations are held against."""


class Noted(Base):
    """One answered question."""

    __tablename__ = "answers"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    hour: Mapped[datetime] = mapped_column(index=True)
    """Begin of the hour it was asked in, UTC; a finer time could be held against what a camera saw."""
    topic: Mapped[str]
    release: Mapped[str]
    outcome: Mapped[str]
    source: Mapped[str]
    lang: Mapped[str]
    kind: Mapped[str]
    """The gate's verdict, and `score` how sure it was."""
    score: Mapped[float]
    check: Mapped[str | None] = mapped_column("fact_check")
    fact: Mapped[str | None]
    """Id of the museum's fact that was told."""
    gate_ms: Mapped[float | None]
    first_word_ms: Mapped[float | None]
    total_ms: Mapped[float | None]
    rating: Mapped[str | None]
    """`up` or `down`, as the visitor rated the answer last."""
    question: Mapped[str | None]
    """The visitor's words, and `answer` what was said: kept for some days where the museum chose to."""
    answer: Mapped[str | None]


def book_url(settings: Settings, topic: Topic) -> URL:
    """Where a topic's book lies: as `DOCENT_DATABASE_URL` says, else beside the topic's releases.

    Raises SettingsError for what is neither SQLite nor PostgreSQL, without repeating the password.
    """
    if settings.database_url is None:
        beside = find_release(topic, settings.release).parent / "book.sqlite3"
        return URL.create("sqlite", database=str(beside))
    try:
        url = make_url(settings.database_url.get_secret_value())
    except (ArgumentError, ValueError):
        raise SettingsError(f"DOCENT_DATABASE_URL: not an address of a database; write {_FORMS}") from None
    match url.get_backend_name():
        case "postgresql" | "postgres":
            return url.set(drivername="postgresql+psycopg")
        case "sqlite" if url.database and url.database != ":memory:":
            return url.set(drivername="sqlite")
    raise SettingsError(f"DOCENT_DATABASE_URL: {url.drivername} cannot be used so; write {_FORMS}")


def connect(url: URL, patience_s: float = 5.0) -> Engine:
    """A way to the database, which waits at most `patience_s` for a lock. Opens nothing yet.

    Errors carry no values: a visitor's words must not reach a log through one.
    """
    if url.get_backend_name() == "sqlite":
        return _sqlite(url, patience_s)
    limit_ms = int(patience_s * 1000)
    arguments = {
        "connect_timeout": max(1, int(patience_s)),
        "tcp_user_timeout": limit_ms,
        "options": f"{url.query.get('options', '')} -c lock_timeout={limit_ms} -c statement_timeout={4 * limit_ms}",
    }
    return create_engine(url, hide_parameters=True, pool_pre_ping=True, connect_args=arguments)


def _sqlite(url: URL, patience_s: float) -> Engine:
    engine = create_engine(url, hide_parameters=True, connect_args={"timeout": patience_s})

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _: Any) -> None:
        # The driver begins no transaction before DDL; SQLAlchemy's BEGIN below makes a migration all or nothing.
        connection.isolation_level = None
        # WAL: a report that reads does not hold up the writer. secure_delete: words are overwritten, not just unlinked.
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "secure_delete=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN")

    return engine


def exists(url: URL) -> bool:
    """Whether there may be a book: a SQLite file is looked for, a PostgreSQL server is not asked."""
    return url.get_backend_name() != "sqlite" or Path(str(url.database)).is_file()


def bring_up_to_date(engine: Engine) -> None:
    """Makes the tables, or adds what an older version did not have; takes nothing away.

    Raises SQLAlchemyError where the database cannot be written, CommandError where a newer Docent wrote it.
    """
    if engine.url.get_backend_name() == "sqlite":
        # For its owner alone, before SQLite makes it for everybody.
        Path(str(engine.url.database)).touch(mode=0o600, exist_ok=True)
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    with _one_at_a_time, engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
