"""nginx with the file that we ship, in front of gateways of a test."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
from pathlib import Path

import aiohttp

from .process import free_port

SHIPPED = Path(__file__).parents[2] / "config" / "deploy" / "nginx" / "kaixu.conf"

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/sbin") or "nginx"

#: What a distribution's nginx.conf has around the file, with everything below one folder.
AROUND = """
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/kaixu.conf;
}}
"""


class Nginx:
    """One nginx. `addresses`: those of the gateways, as `127.0.0.1:8787`, in the places of the file's."""

    def __init__(self, folder: Path, *addresses: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None
        text = SHIPPED.read_text()
        servers = iter(addresses)
        for name in re.findall(r"server (gateway-\d+:8787)", text):
            address = next(servers, None)
            text = re.sub(rf"( *server ){name}(.*\n)", rf"\g<1>{address}\g<2>" if address else "", text)
        text = text.replace("listen 80;", f"listen 127.0.0.1:{self.port};")
        (folder / "kaixu.conf").write_text(text)
        self.conf = folder / "nginx.conf"
        self.conf.write_text(AROUND.format(folder=folder))

    @property
    def command(self) -> list[str]:
        """nginx with this configuration."""
        return [NGINX, "-p", str(self.folder), "-c", str(self.conf)]

    async def start(self) -> Nginx:
        """Start it, and wait until it answers."""
        log = self.folder / "nginx.log"
        with log.open("wb") as out:
            self.process = subprocess.Popen(self.command, stdout=out, stderr=out)
        async with aiohttp.ClientSession() as http:
            for _ in range(600):
                assert self.process.poll() is None, log.read_text()
                try:
                    async with http.get(f"{self.url}/api/health"):
                        return self
                except aiohttp.ClientError:
                    await asyncio.sleep(0.05)
        raise AssertionError(log.read_text())

    def stop(self) -> None:
        """End it at once."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(30)
