"""What can be wrong with a topic folder; every message says where, what was found and what to do.

TopicError
└── QuestionsError     a line of questions.jsonl, off_topic.jsonl or near_misses.jsonl
"""


class TopicError(ValueError):
    """A topic folder cannot be used as it is."""


class QuestionsError(TopicError):
    """A line of a questions file cannot be used as it is; the message starts with `file:line`."""
