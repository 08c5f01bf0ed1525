"""Why a training run cannot start or cannot be believed; every message says what to do.

TrainingError
├── RecipeError      a recipe cannot be used as it is
├── BaseError        the base model cannot be loaded
├── DataError        what there is to learn from cannot be used
├── DivergedError    the loss is no number any more
├── StorageError     a checkpoint could not be written
├── ParityError      the merged model does not answer as the adapter did
└── ServedError      a candidate could not be served, so nobody knows how it answers
"""


class TrainingError(RuntimeError):
    """A run stops here; nothing was promoted."""


class RecipeError(TrainingError):
    """A recipe cannot be used as it is."""


class BaseError(TrainingError):
    """The base model cannot be loaded."""


class DataError(TrainingError):
    """What there is to learn from cannot be used."""


class DivergedError(TrainingError):
    """The loss is no number any more."""


class StorageError(TrainingError):
    """A checkpoint could not be written."""


class ParityError(TrainingError):
    """The merged model does not answer as the adapter did."""


class ServedError(TrainingError):
    """A candidate could not be served."""
