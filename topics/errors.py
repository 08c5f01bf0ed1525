"""What can be wrong with a topic folder; every message says where, what was found and what to do.

TopicError
└── QuestionsError     a line of questions.jsonl, off_topic.jsonl or near_misses.jsonl

PromptTooLong          a question leaves no room for its answer
"""


class TopicError(ValueError):
    """A topic folder cannot be used as it is."""


class QuestionsError(TopicError):
    """A line of a questions file cannot be used as it is; the message starts with `file:line`."""


class PromptTooLong(ValueError):
    """Persona and question alone are longer than the engine can read."""
