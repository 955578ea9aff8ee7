"""Passwords of operators are hashed with little work in tests: argon2's own takes a third of a second of a processor.

Processes of tests that are executed instead of forked hash as the gateway does.
"""

from __future__ import annotations

from functools import partial

from argon2 import PasswordHasher

from kaixu.accounts import operator_passwords


def hash_with_little_work() -> None:
    """In this process, and in those forked from it."""
    vars(operator_passwords)["PasswordHasher"] = partial(PasswordHasher, time_cost=1, memory_cost=64, parallelism=1)
