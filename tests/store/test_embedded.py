"""The Postgres that comes along: who uses it, and when it stops."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from kaixu.store.embedded import forget_the_dead


def test_killed_processes_no_longer_count_as_users(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    users = tmp_path / "users.json"
    users.write_text(json.dumps([dead.pid, os.getpid()]))
    forget_the_dead(users)
    assert json.loads(users.read_text()) == [os.getpid()]


def test_a_list_that_is_not_there_or_not_a_list_is_left(tmp_path: Path) -> None:
    users = tmp_path / "users.json"
    forget_the_dead(users)
    assert not users.exists()
    users.write_text("{broken")
    forget_the_dead(users)
    assert users.read_text() == "{broken"
