"""Passwords of operators: how much work their hashes take. Other tests hash with less (tests/support/passwords.py)."""

from __future__ import annotations

import subprocess
import sys

HASH = "from kaixu.accounts.operator_passwords import Passwords; print(Passwords().hasher.hash('correct horse'))"


def test_a_hash_takes_the_work_that_rfc_9106_asks_for() -> None:
    made = subprocess.run([sys.executable, "-c", HASH], check=True, capture_output=True, text=True).stdout
    assert made.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
