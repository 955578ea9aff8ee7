"""A question set, and how many of its questions search answers."""
