"""A recipe: how words become weights. Every field is documented in place; what contradicts itself is refused."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from topics.release import Answering
from training.errors import RecipeError

RECIPES = Path(__file__).resolve().parent / "recipes"

Task = Literal["causal", "seq2seq", "classification"]
Method = Literal["lora", "qlora", "int8_lora", "freeze", "p_tuning", "prefix", "bottleneck", "full", "none"]
Kind = Literal["museum", "text", "instruction", "pairs", "classification", "conversation"]

LORA_KINDS: tuple[Method, ...] = ("lora", "qlora", "int8_lora")
QUANTISED: tuple[Method, ...] = ("qlora", "int8_lora")
UNMERGEABLE: tuple[Method, ...] = ("p_tuning", "prefix", "bottleneck")
"""What these learn cannot be folded into the base's weights: it runs beside them."""
_READ_BY: dict[str, tuple[Method, ...]] = {
    "lora": LORA_KINDS,
    "quantise": ("qlora",),
    "freeze": ("freeze",),
    "prompt": ("p_tuning", "prefix"),
    "bottleneck": ("bottleneck",),
}
_KINDS: dict[Task, tuple[Kind, ...]] = {
    "causal": ("museum", "text", "instruction", "pairs", "conversation"),
    "seq2seq": ("instruction", "pairs"),
    "classification": ("classification",),
}


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Lora(_Part):
    """`[lora]`: low-rank adapters (Hu et al. 2021)."""

    r: int = Field(64, ge=1)
    """Rank."""
    alpha: int = Field(128, ge=1)
    """Scale; the update counts `alpha / r` times."""
    dropout: float = Field(0.0, ge=0, lt=1)
    target_modules: str | tuple[str, ...] = "all-linear"
    """`all-linear`, or the names of modules."""
    skip_layers: int = Field(0, ge=0)
    """The first so many layers get no adapter: they stay as the base has them."""


class Quantise(_Part):
    """`[quantise]`: how `qlora` holds the base in four bits (NF4; Dettmers et al. 2023)."""

    double: bool = True
    """Quantise the scales as well."""
    compute: Literal["bf16", "fp32"] = "bf16"
    """What the weights are unpacked to for each product."""


class Freeze(_Part):
    """`[freeze]`: method `freeze` trains the base itself, but for its embeddings and first layers."""

    layers: int = Field(1, ge=1)


class Prompt(_Part):
    """`[prompt]`: `p_tuning` (Liu et al. 2021) learns vectors before the words, `prefix` in every layer."""

    virtual_tokens: int = Field(5, ge=1)
    hidden_size: int = Field(128, ge=1)
    """Width of the small network that makes the vectors."""
    projection: bool = True
    """`prefix` alone: whether there is such a network at all."""


class Bottleneck(_Part):
    """`[bottleneck]`: a narrow network after each named layer, added to what the layer says (Houlsby et al. 2019)."""

    hidden_size: int | str = "d/4"
    """Its width: a number, or a share of the layer's own width `d`, such as `8d/3`."""
    target_modules: tuple[str, ...]
    """After which modules, by the ends of their names: `output.dense` (BERT), `down_proj` (Llama)."""

    @field_validator("hidden_size")
    @classmethod
    def _is_a_width(cls, size: int | str) -> int | str:
        if cls._share(size) <= 0:
            raise ValueError(f"{size!r} is no width; write a number, or a share of d such as 'd/2' or '8d/3'")
        return size

    @staticmethod
    def _share(size: int | str) -> Fraction:
        if isinstance(size, int):
            return Fraction(size)
        found = re.fullmatch(r"(\d*)d(?:/([1-9]\d*))?", size)
        return Fraction(int(found[1] or 1), int(found[2] or 1)) if found else Fraction(0)

    def width(self, d: int) -> int:
        """The width beside a layer of width `d`."""
        return (
            self.hidden_size if isinstance(self.hidden_size, int) else max(1, round(d * self._share(self.hidden_size)))
        )


class Data(_Part):
    """`[data]`: what is learned from. A topic's facts (`museum`), or files of a study's own."""

    kind: Kind = "museum"
    """`text` (one column), `instruction` and `pairs` (prompt and answer), `classification` (one or two texts and a
    label), `conversation` (turns of user and assistant). Files are JSON lines, CSV or TSV."""
    train: str = ""
    """A study's file; or, with `hub`, the name of a split (`train[:10000]`)."""
    validation: str = ""
    """The same to choose the best checkpoint with; empty: `validation_share` of the training rows."""
    test: str = ""
    """The same to measure with; empty: the validation rows."""
    hub: str = ""
    """A data set on the hub, instead of files."""
    subset: str = ""
    """Which part of that data set, where it has several."""
    columns: dict[str, str] = Field(default_factory=dict)
    """What the file calls our columns (`text`; `prompt`, `answer`; `text1`, `text2`, `label`; `messages`; `lang`)."""
    template: str = ""
    """How a prompt is put, with `{prompt}` in it; empty: the base's chat template, or the bare words without one."""
    completion_only: bool = True
    """Learn the answer alone, not the prompt before it."""

    evidence_share: float = Field(0.2, ge=0, le=1)
    """Share of examples that show the right museum note in the prompt."""
    distractor_share: float = Field(0.3, ge=0, le=1)
    """Of those, the share that shows a second, unfitting note as well."""
    unknown_share: float = Field(0.06, ge=0, le=1)
    """Examples whose answer is `I do not know`, as a share of all: strangers' questions, and unfitting notes."""
    word_dropout: float = Field(0.15, ge=0, lt=1)
    """Chance that a word of a paraphrase is left out, in `thinned_share` of the examples."""
    thinned_share: float = Field(0.5, ge=0, le=1)
    """0 shows every wording as written."""
    full_every: int = Field(1, ge=1)
    """Every so many passes an answer is shown whole, in the others only its first `head_tokens`: a small model
    learns the rest of an answer in a few passes, and which answer it is in many: that is decided in the first words."""
    head_tokens: int = Field(14, ge=2)
    validation_share: float = Field(0.04, ge=0, lt=0.5)
    """Share of paraphrases kept from training to choose the best checkpoint."""
    max_length: int = Field(512, ge=32)
    """Longest example in tokens. A longer fact is refused; a longer row of a study is cut, counted and reported."""


class Optimisation(_Part):
    """`[train]`: the loop."""

    epochs: int = Field(3, ge=1)
    """Passes over the museum's wordings."""
    more_epochs: int = Field(3, ge=1)
    """The same when training goes on from an adapter that knows most of them."""
    batch_size: int = Field(32, ge=1)
    learning_rate: float = Field(2e-3, gt=0)
    more_learning_rate: float = Field(5e-4, gt=0)
    """The same when training goes on from an adapter: what a fresh one bears tears a learned one apart."""
    optimizer: Literal["adamw", "adafactor", "paged_adamw_8bit", "paged_adamw_32bit"] = "adamw"
    """The paged ones need a GPU."""
    schedule: Literal["linear", "cosine", "constant", "step"] = "cosine"
    step_every: int = Field(100, ge=1)
    """`step` alone: after so many steps the rate is multiplied by `step_factor`."""
    step_factor: float = Field(0.5, gt=0, lt=1)
    warmup_steps: int = Field(30, ge=0)
    """At most a fifth of all steps."""
    warmup_ratio: float | None = Field(None, ge=0, lt=1)
    """Share of all steps, instead of `warmup_steps`."""
    weight_decay: float = Field(0.0, ge=0)
    max_grad_norm: float = Field(1.0, gt=0)
    max_steps: int = Field(-1, ge=-1)
    """Stops after so many steps, whatever the epochs; -1 does not. For tests."""
    accumulation: int = Field(1, ge=1)
    """Batches added up before a step: so many times `batch_size` examples count once."""
    tokens_at_once: int = Field(0, ge=0)
    """A batch of more tokens is computed in parts, one after the other: the same step in less memory. 0: never."""
    gradient_checkpointing: bool = False
    """Less memory for a third more time."""
    packing: bool = False
    """Several short examples in one row of `data.max_length`, each seeing itself alone."""
    evaluations: int = Field(6, ge=1)
    """How often the validation loss is taken and a checkpoint written."""
    patience: int = Field(0, ge=0)
    """Stop after so many evaluations without a better one; 0 goes on. The best checkpoint is kept either way."""
    save_total_limit: int = Field(2, ge=1)
    """Checkpoints that stay on disk; the best is one of them."""
    precision: Literal["bf16", "fp16", "fp32"] = "bf16"
    seed: int = 7


class Evaluation(_Part):
    """`[evaluate]`: what is measured afterwards."""

    questions: int = Field(200, ge=1)
    """At most so many questions of each set are answered by free generation."""
    base_questions: int = Field(40, ge=1)
    """The same for the base model, which is there for comparison."""
    truth_questions: int = Field(120, ge=1)
    """The same for the truth report, which answers them with museum notes, and as visitors would hear it."""
    parity_prompts: int = Field(20, ge=1)
    parity_epsilon: float = Field(0.25, ge=0)
    """A differing greedy token counts only where the two best logits lie further apart than this."""


class Recipe(_Part):
    """A recipe file."""

    name: str
    base: str = "models/mini"
    """Hub id or folder of the base model; `--base` overrides it."""
    task: Task = "causal"
    """`causal` goes on writing, `seq2seq` reads and then writes, `classification` chooses a label."""
    method: Method = "lora"
    """What is trained: adapters (`lora`; over a base in 4 or 8 bits: `qlora`, `int8_lora`), the base but for its first
    layers (`freeze`), vectors before the words (`p_tuning`, `prefix`), narrow networks between layers (`bottleneck`),
    everything (`full`) or nothing (`none`: the base is only measured)."""
    answering: Answering = "curated-first"
    """What the service does with a release of this recipe: see `docs/decisions/0004-three-cases.md`."""
    lora: Lora = Field(default_factory=Lora)  # pyright: ignore[reportArgumentType]
    quantise: Quantise = Field(default_factory=Quantise)
    freeze: Freeze = Field(default_factory=Freeze)  # pyright: ignore[reportArgumentType]
    prompt: Prompt = Field(default_factory=Prompt)  # pyright: ignore[reportArgumentType]
    bottleneck: Bottleneck | None = None
    data: Data = Field(default_factory=Data)  # pyright: ignore[reportArgumentType]
    train: Optimisation = Field(default_factory=Optimisation)  # pyright: ignore[reportArgumentType]
    evaluate: Evaluation = Field(default_factory=Evaluation)  # pyright: ignore[reportArgumentType]
    trials: tuple[dict[str, Any], ...] = ()
    """`[[trials]]`: runs one after the other, each with a `name` and what it changes in the recipe."""

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        if quarrel := next(_quarrels(self), None):
            raise ValueError(quarrel)
        try:
            self.each_trial()
        except ValidationError as error:
            raise ValueError(f"in a trial: {_told(error)}") from error
        return self

    def each_trial(self) -> list[Recipe]:
        """The recipe of each trial, in order; the recipe itself when it has none."""
        if not self.trials:
            return [self]
        common = self.model_dump(exclude_unset=True, exclude={"trials"})
        return [Recipe.model_validate(_merged(common, trial)) for trial in self.trials]


def _merged(common: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    both = {k: _merged(common[k], v) if isinstance(v, dict) and k in common else v for k, v in changes.items()}
    return {**common, **both}


def _quarrels(recipe: Recipe) -> Iterator[str]:
    """What in a recipe contradicts something else in it, each with the way out."""
    method, data, train = recipe.method, recipe.data, recipe.train
    for part, readers in _READ_BY.items():
        # A sweep's common settings may serve some of its trials and not others.
        if part in recipe.model_fields_set and method not in (*readers, "none") and not recipe.trials:
            yield f"[{part}] is not read by method = {method!r}; take it out, or choose {' or '.join(readers)}"
    if method == "bottleneck" and recipe.bottleneck is None:
        yield "method = 'bottleneck' needs [bottleneck] with target_modules: the layers it comes after"
    if data.kind not in _KINDS[recipe.task]:
        kinds = ", ".join(_KINDS[recipe.task])
        yield f"task = {recipe.task!r} does not learn from data.kind = {data.kind!r}; it takes {kinds}"
    if recipe.task == "classification" and method in QUANTISED:
        yield f"method = {method!r} would quantise the new layer that chooses the label before it has learned; use lora"
    yield from _data_quarrels(data)
    if data.kind == "museum" and method not in (*LORA_KINDS, "none"):
        yield f"method = {method!r} is for studies; a guide is trained with {', '.join(LORA_KINDS)}"
    if recipe.lora.skip_layers and recipe.lora.target_modules == "all-linear":
        yield "lora.skip_layers needs lora.target_modules by name: 'all-linear' means those of every layer"
    if train.packing and (recipe.task != "causal" or data.kind == "museum" or method in ("p_tuning", "prefix")):
        yield "train.packing is for studies with task = 'causal' and a method that adds nothing before the words"
    if train.gradient_checkpointing and method == "prefix":
        yield "train.gradient_checkpointing throws away what method = 'prefix' adds to each layer; take one of them out"
    if train.warmup_ratio is not None and "warmup_steps" in train.model_fields_set:
        yield "train.warmup_steps and train.warmup_ratio say the same thing twice; keep one"
    if train.schedule != "step" and {"step_every", "step_factor"} & train.model_fields_set:
        yield f"train.step_every and train.step_factor belong to train.schedule = 'step', and it is {train.schedule!r}"


_MUSEUM_ONLY = (
    "evidence_share",
    "distractor_share",
    "unknown_share",
    "word_dropout",
    "thinned_share",
    "full_every",
    "head_tokens",
)
_STUDY_ONLY = ("train", "validation", "test", "hub", "subset", "columns", "template", "completion_only")


def _data_quarrels(data: Data) -> Iterator[str]:
    wrong = _STUDY_ONLY if data.kind == "museum" else _MUSEUM_ONLY
    if odd := [name for name in wrong if name in data.model_fields_set]:
        yield f"data.{odd[0]} has no meaning with data.kind = {data.kind!r}; take it out, or change the kind"
    if data.kind != "museum" and not data.train:
        yield f"data.train is missing; with data.kind = {data.kind!r}, name the file or the split to learn from"
    if data.subset and not data.hub:
        yield "data.subset is a part of a data set on the hub; name that as data.hub"
    if data.template and "{prompt}" not in data.template:
        yield f"data.template is {data.template!r}; write {{prompt}} where the prompt goes"
    if data.kind != "museum" and not (data.validation or data.validation_share):
        yield "there is nothing to choose the best checkpoint with; name data.validation or give data.validation_share"


def load_recipe(name_or_path: str | Path) -> Recipe:
    """A recipe by name (`museum_mini`) or path. Raises RecipeError saying which key and what it may be."""
    path = RECIPES / f"{name_or_path}.toml"
    if not path.is_file():
        path = Path(name_or_path)
    if not path.is_file():
        there = ", ".join(sorted(p.stem for p in RECIPES.glob("*.toml")))
        raise RecipeError(f"{name_or_path}: no such recipe; give the path of one, or one of: {there}")
    try:
        return Recipe.model_validate({"name": path.stem, **tomllib.loads(path.read_text(encoding="utf-8"))})
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{path}: not valid TOML ({error}); mend that line") from error
    except ValidationError as error:
        raise RecipeError(f"{path}: {_told(error)}") from error


def _told(error: ValidationError) -> str:
    """The first fault, as a sentence of ours (with names as the file spells them) or as pydantic tells it."""
    first = error.errors()[0]
    said = str(first["ctx"]["error"]) if first["type"] == "value_error" else first["msg"].lower()
    return ": ".join([*([".".join(str(p) for p in first["loc"])] if first["loc"] else []), said])
