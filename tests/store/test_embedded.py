"""The embedded Postgres: shared by processes, and stopped by the last one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from kaixu.store.embedded import EmbeddedPostgres, ProcessList, wait_until_started

SHARES = """
import sys
from pathlib import Path
from kaixu.store.embedded import EmbeddedPostgres, ProcessList
EmbeddedPostgres(Path(sys.argv[1])).start()
print("started", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def home() -> Iterator[Path]:
    """A data folder that Postgres's own user reaches: not below `tmp_path`, which each start of pytest closes."""
    folder = Path(tempfile.mkdtemp(prefix="kaixu-tests-"))
    folder.chmod(0o755)
    yield folder / "home"
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def other(home: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that has started the server, and shares it until its input ends."""
    with subprocess.Popen(
        [sys.executable, "-c", SHARES, str(home)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"started\n"
        yield process
        process.kill()


def test_the_last_one_out_stops_the_server_though_another_was_killed(
    home: Path, other: subprocess.Popen[bytes]
) -> None:
    embedded = EmbeddedPostgres(home)
    embedded.start()
    other.kill()
    os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)  # dead, but not reaped
    embedded.server.cleanup()
    assert not (embedded.folder / "postmaster.pid").exists()


def test_the_server_stays_for_a_process_that_still_uses_it(home: Path, other: subprocess.Popen[bytes]) -> None:
    embedded = EmbeddedPostgres(home)
    embedded.start()
    embedded.server.cleanup()
    assert (embedded.folder / "postmaster.pid").exists()
    other.communicate(b"")
    assert not (embedded.folder / "postmaster.pid").exists()


def test_killed_processes_no_longer_count_as_users(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    path = tmp_path / "users.json"
    path.write_text(json.dumps([dead.pid, os.getpid()]))
    assert ProcessList(path).get_and_remove(os.getpid()) == [os.getpid()]
    assert json.loads(path.read_text()) == []


def test_a_missing_or_damaged_list_has_no_processes(tmp_path: Path) -> None:
    path = tmp_path / "users.json"
    assert ProcessList(path).get_and_remove(os.getpid()) == []
    assert not path.exists()
    path.write_text("{broken")
    assert ProcessList(path).get_and_add(os.getpid()) == []
    assert json.loads(path.read_text()) == [os.getpid()]


@pytest.mark.parametrize("after", ["ready", "gone"])
def test_a_server_that_another_process_was_killed_while_starting_is_waited_for(
    after: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "postmaster.pid"
    lines = [str(os.getpid()), "/data", "1", "0", "/data", "", "1 2"]
    looks: list[float] = []

    def look_again(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 1:
            file.write_text("\n".join([*lines, "starting"]))
        elif after == "ready":
            file.write_text("\n".join([*lines, "ready   "]))
        else:
            file.unlink()

    file.write_text(lines[0])  # it is just being written
    monkeypatch.setattr("kaixu.store.embedded.time.sleep", look_again)
    wait_until_started(tmp_path)
    assert len(looks) == 2
    file.unlink(missing_ok=True)
    wait_until_started(tmp_path)
    assert len(looks) == 2
