"""A question in, an answer or a kind sentence out, over HTTP."""
