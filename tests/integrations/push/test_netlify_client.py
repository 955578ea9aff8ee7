"""Netlify's own client from npm publishes at the stand-in: so that the stand-in is a fair one."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sysconfig
from pathlib import Path

from .stand_in import Netlify

NODE = Path(sysconfig.get_path("scripts"), "node")
PACKAGES = Path(__file__).parents[2] / "node" / "node_modules"
PROGRAM = Path(__file__).with_name("client.mjs")


async def test_netlify_s_own_client_publishes_at_the_stand_in(tmp_path: Path) -> None:
    netlify = await Netlify().start()
    try:
        netlify.site("node-site", "nfp_token_of_node")
        # Modules are looked for beside the program.
        (tmp_path / "client.mjs").write_text(PROGRAM.read_text())
        (tmp_path / "node_modules").symlink_to(PACKAGES.resolve())
        words = [str(NODE), "client.mjs", str(netlify.port), "nfp_token_of_node", "node-site"]
        done = await asyncio.to_thread(
            subprocess.run,
            words,
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        told = json.loads(done.stdout)
        [deploy] = netlify.deploys.values()
        assert told == {
            "user": f"{netlify.users['nfp_token_of_node']}@example.com", "first": "preparing", "required": 2,
            "state": "ready", "url": "https://node-site.example.net", "listed": [deploy.id], "id": deploy.id, "wrong": 422,
        }  # fmt: skip
        assert set(netlify.sites["node-site"].published) == {"index.html", "a b/über.css", "same.html"}
        assert netlify.mistakes == []
    finally:
        await netlify.stop()
