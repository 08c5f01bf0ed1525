"""Is this question the museum's? Decided in milliseconds, before a model is asked."""

from gatekeeper.filter import GateError, TopicFilter, Verdict

__all__ = ["GateError", "TopicFilter", "Verdict"]
