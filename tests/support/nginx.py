"""Debian's nginx as a balancer, as operators run it: on a port of its own, in a folder of its own."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .process import free_port

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/sbin")
MISSING = "nginx is missing: apt-get install nginx-light"

CONFIG = """
worker_processes 1;
daemon off;
pid nginx.pid;
error_log error.log info;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
{text}
}}
"""


@contextmanager
def nginx(folder: Path, text: str) -> Iterator[None]:
    """An nginx with `text` as the contents of its `http` section."""
    assert NGINX is not None, MISSING
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)
    (folder / "nginx.conf").write_text(CONFIG.format(text=text))
    command = [NGINX, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        for port in re.findall(r"listen 127.0.0.1:([0-9]+)", text):
            while not is_listening(int(port)):
                assert process.poll() is None, (folder / "error.log").read_text()
                time.sleep(0.02)
        yield
    finally:
        process.terminate()
        process.wait(30)


def is_listening(port: int) -> bool:
    """Whether somebody accepts connections on a port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def balanced(ports: list[int], *, server: str = "", upstream: str = "", location: str = "") -> tuple[str, str]:
    """A `server` before several gateways, and its address. `server`: parameters of each gateway's line."""
    port = free_port()
    listed = "\n".join(f"        server 127.0.0.1:{one} {server};" for one in ports)
    text = f"""
    upstream gateways{port} {{
{listed}
        {upstream}
    }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://gateways{port};
            {location}
        }}
    }}
"""
    return text, f"http://127.0.0.1:{port}"
