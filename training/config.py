"""A recipe: how questions become weights. Every field is documented in place; unknown keys are refused."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from topics.release import Answering
from training.errors import RecipeError

RECIPES = Path(__file__).resolve().parent / "recipes"


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


class Data(_Part):
    """`[data]`: how a fact is shown to the model."""

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
    """Longest example in tokens; longer ones are refused, never cut."""


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
    schedule: Literal["linear", "cosine", "constant"] = "cosine"
    warmup_steps: int = Field(30, ge=0)
    weight_decay: float = Field(0.0, ge=0)
    max_grad_norm: float = Field(1.0, gt=0)
    max_steps: int = Field(-1, ge=-1)
    """Stops after so many steps, whatever the epochs; -1 does not. For tests."""
    evaluations: int = Field(6, ge=1)
    """How often the validation loss is taken."""
    precision: Literal["bf16", "fp32"] = "bf16"
    seed: int = 7


class Evaluation(_Part):
    """`[evaluate]`: what is measured afterwards."""

    questions: int = Field(200, ge=1)
    """At most so many questions of each set are answered by free generation."""
    base_questions: int = Field(40, ge=1)
    """The same for the base model, which is there for comparison."""
    parity_prompts: int = Field(20, ge=1)
    parity_epsilon: float = Field(0.25, ge=0)
    """A differing greedy token counts only where the two best logits lie further apart than this."""


class Recipe(_Part):
    """A recipe file."""

    name: str
    base: str = "models/mini"
    """Hub id or folder of the base model; `--base` overrides it."""
    answering: Answering = "curated-first"
    """What the service does with a release of this recipe: see `docs/decisions/0004-three-cases.md`."""
    lora: Lora = Field(default_factory=Lora)  # pyright: ignore[reportArgumentType]
    data: Data = Field(default_factory=Data)  # pyright: ignore[reportArgumentType]
    train: Optimisation = Field(default_factory=Optimisation)  # pyright: ignore[reportArgumentType]
    evaluate: Evaluation = Field(default_factory=Evaluation)  # pyright: ignore[reportArgumentType]


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
        first = error.errors()[0]
        raise RecipeError(f"{path}: {'.'.join(str(p) for p in first['loc'])}: {first['msg'].lower()}") from error
