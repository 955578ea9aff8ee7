"""`kaixu parcel …` on a customer's machine, and the package's own tests, both in the clean environment."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from pathlib import Path

from .conftest import PACKAGE
from .station import Station


async def test_its_commands_need_a_url_and_a_key_and_no_kaixu_yaml(
    shared: Station, python: Path, tmp_path: Path
) -> None:
    async def kaixu(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        given = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "COLUMNS": "200", **environment}
        command = [str(python.with_name("kaixu")), *words]
        return await asyncio.to_thread(
            subprocess.run, command, env=given, cwd=tmp_path, capture_output=True, text=True, check=False
        )

    reached = {"KAIXU_URL": shared.gateway.url, "KAIXU_KEY": shared.key}
    sent, listed = await kaixu("parcel", "send", "321", **reached), await kaixu("parcel", "list", **reached)
    number = sent.stdout.partition(":")[0].removeprefix("parcel ")
    assert sent.stdout == f"parcel {number}: new\n", sent.stderr
    assert listed.stdout.startswith(f"{number}  321 g  "), listed.stderr
    await shared.state_of(int(number), "delivered")
    where, missing, refused, helped = await asyncio.gather(
        kaixu("parcel", "where", number, "--url", shared.gateway.url, "--key", shared.key),
        kaixu("parcel", "where", "999999", **reached),
        kaixu("parcel", "send", "0", **reached),
        kaixu("--help"),
    )
    assert (where.returncode, where.stdout) == (0, "delivered\n")
    assert (missing.returncode, "there is no parcel 999999" in missing.stderr) == (1, True)
    assert "`kaixu parcel list` shows yours." in missing.stderr
    assert (refused.returncode, "grams" in refused.stderr) == (1, True)
    assert "parcel" in helped.stdout
    assert list(tmp_path.iterdir()) == []


async def test_its_own_contract_tests_pass(python: Path, tmp_path: Path) -> None:
    shutil.copytree(PACKAGE / "tests", tmp_path / "tests")
    words = [
        str(python),
        "-m",
        "pytest",
        "-q",
        "--tb=short",
        "-p",
        "no:cacheprovider",
        "-c",
        os.devnull,
        "--rootdir",
        ".",
        "tests",
    ]
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
    ran = await asyncio.to_thread(
        subprocess.run, words, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout[-20_000:] + ran.stderr[-2000:]
