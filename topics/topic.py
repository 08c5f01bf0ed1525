"""A topic folder, read and checked: who the museum is about, in which languages, in which words."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from topics.colours import Colours
from topics.errors import TopicError
from topics.names import Names
from topics.questions import Row, read_questions
from topics.text import comparable

HERE = Path(__file__).resolve().parent
_PERSONA = "You are a kind museum guide to {title}."


def _as_table(value: object) -> object:
    return {"": value} if isinstance(value, str) else value


ByLanguage = Annotated[dict[str, str], BeforeValidator(_as_table)]
"""One text for all languages, or a table of texts by language."""


class Generation(BaseModel):
    """`[generation]`: how the model speaks."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_tokens: int = Field(110, ge=1, le=2048)
    """Longest answer, in tokens."""
    temperature: float = Field(0.0, ge=0, le=2)
    """0 answers the same question the same way every time."""
    unsupported: Literal["curated", "marked"] = "curated"
    """What is done with an answer that says more than the museum's text does: the museum's own words are told instead,
    or it is shown behind `I am not certain`."""


class Gate(BaseModel):
    """`[gate]`: how strict the gatekeeper is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    false_refusals: float = Field(0.02, gt=0, lt=1)
    """Share of on-topic questions that may be turned away."""
    traffic: Mapping[str, float] = Field(
        default_factory=lambda: {"topic": 0.5, "visit": 0.1, "greeting": 0.1, "near": 0.15, "off": 0.1, "attack": 0.05}
    )
    """In which shares kinds of questions come, near-misses (`near`) apart from other off-topic ones; what is missing
    counts as 0."""


class Topic(BaseModel):
    """`topic.toml`. Only `id`, `title` and `languages` are needed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    folder: Path
    id: str = Field(pattern=r"^[a-z0-9_]+$")
    title: ByLanguage
    """The subject's name, `"Marie Curie"`, or a table by language."""
    languages: tuple[str, ...] = Field(min_length=1)
    """Codes such as `en`, `vi`; the first is the museum's own."""
    aliases: tuple[str, ...] = ()
    """Other names of the subject that visitors use; spelling and accents do not matter."""
    names: tuple[str, ...] = ()
    """Names in scripts without capital letters, by which the fact check tells names elsewhere."""
    everywhere: tuple[str, ...] = ()
    """Names that any answer may use, such as the museum's own country: the fact check lets them pass."""
    same: tuple[tuple[str, ...], ...] = ()
    """Different names of one thing, `["Canton", "Guangzhou"]`: where a fact has one, an answer may have another."""
    persona: str = _PERSONA
    """The first sentence the model reads. Changing it means training again."""
    suggestions: tuple[str, ...] = ()
    """Ids of the facts whose questions the kiosk offers first."""
    texts: Mapping[str, Mapping[str, str]] = Field(default_factory=dict)
    """`[texts.en]`: sentences that replace the ones in `topics/texts/en.toml`."""
    visit: Mapping[str, Mapping[str, str]] = Field(default_factory=dict)
    """`[visit.en]`: what to say about `hours`, `tickets`, … instead of the sentences in `topics/texts/en.toml`."""
    articles: Mapping[str, Mapping[str, str]] = Field(default_factory=dict)
    """`[articles.vi]`: titles of `sources/*.md` in other languages than the first, by file name."""
    colours: Colours = Field(default_factory=Colours)
    gate: Gate = Field(default_factory=Gate)  # pyright: ignore[reportArgumentType]
    generation: Generation = Field(default_factory=Generation)  # pyright: ignore[reportArgumentType]

    def name(self, language: str) -> str:
        """The subject's name in a language, else in the museum's first."""
        return self.title.get(language) or self.title.get("") or next(iter(self.title.values()))

    def text(self, key: str, language: str) -> str:
        """One of the guide's sentences. Raises KeyError for a key that no language has."""
        return self.all_texts(language)[key]

    def all_texts(self, language: str) -> dict[str, str]:
        """Every sentence in one language, `{title}` filled in."""
        merged = {**_default_texts(language), **self.texts.get(language, {})}
        return {key: text.replace("{title}", self.name(language)) for key, text in merged.items()}

    def visit_text(self, about: str, language: str) -> str:
        """What to say to a question about the visit; `about` is a key of `[visit]` in `topics/texts/en.toml`."""
        texts = {**_visit_texts(language), **self.visit.get(language, {})}
        return texts.get(about) or texts["other"]

    def rows(self, *, drafts: bool = False) -> list[Row]:
        """The museum's facts, drafts left out unless asked for. Raises QuestionsError naming file and line."""
        rows = [r for r in read_questions(self.folder / "questions.jsonl") if drafts or not r.draft]
        for row in rows:
            if row.lang not in self.languages:
                raise TopicError(
                    f"{self.folder / 'questions.jsonl'}: fact {row.id!r} is in language {row.lang!r}, and topic.toml "
                    f"lists {', '.join(self.languages)}; add the language there or delete the row"
                )
        return rows

    def opening_questions(self, rows: Sequence[Row], language: str, count: int = 4) -> list[str]:
        """Questions to offer before the visitor has asked anything; all can be answered in `language`."""
        known = {r.id: r.question for r in rows if r.lang == language and not r.held}
        chosen = [known[i] for i in self.suggestions if i in known]
        return (chosen or list(known.values()))[:count]

    def match_text(self, text: str) -> str:
        """`text` as gate and evidence compare it: folded, and every name of the subject made one word."""
        return self._names.replaced(comparable(text))

    @functools.cached_property
    def _names(self) -> Names:
        return Names([*self.title.values(), *self.aliases])


@functools.cache
def _texts_file(language: str) -> dict[str, Any]:
    return tomllib.loads((HERE / "texts" / f"{language}.toml").read_text("utf-8"))


def _default_texts(language: str) -> dict[str, str]:
    return {key: text for key, text in _texts_file(language).items() if isinstance(text, str)}


def _visit_texts(language: str) -> dict[str, str]:
    return dict(_texts_file(language)["visit"])


def reading(language: str) -> dict[str, Any]:
    """How a language writes months and numbers: `[reading]` of its texts."""
    return dict(_texts_file(language)["reading"])


def find_topic(name_or_path: str | Path) -> Path:
    """The folder of a topic given by name (`ho_chi_minh`) or path. Raises TopicError listing the topics there are."""
    for folder in (Path(name_or_path), HERE / name_or_path):
        if (folder / "topic.toml").is_file():
            return folder.resolve()
    there = ", ".join(sorted(p.parent.name for p in HERE.glob("*/topic.toml"))) or "none"
    raise TopicError(f"{name_or_path}: no topic.toml there; give a folder that has one, or one of: {there}")


def load_topic(name_or_path: str | Path) -> Topic:
    """Reads and checks `topic.toml`. Raises TopicError with what to change."""
    folder = find_topic(name_or_path)
    file = folder / "topic.toml"
    try:
        table: dict[str, Any] = tomllib.loads(file.read_text(encoding="utf-8"))
        topic = Topic.model_validate({**table, "folder": folder})
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TopicError(f"{file}: not valid TOML ({error}); mend that line") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise TopicError(
            f"{file}: {where}: {first['msg'].removeprefix('Value error, ').lower()}; see docs/topics.md"
        ) from error
    for language in topic.languages:
        if not (HERE / "texts" / f"{language}.toml").is_file():
            raise TopicError(
                f"{file}: no texts for language {language!r}; copy topics/texts/en.toml to "
                f"topics/texts/{language}.toml and translate it"
            )
    persona = topic.persona.replace("{title}", topic.name(topic.languages[0]))
    return topic.model_copy(update={"persona": persona})
