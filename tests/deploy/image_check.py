"""`make image-check`: build the image of the Containerfile, and run it as it is meant to run.

Needs root, podman, and for a machine that reaches no registry of images mmdebstrap: the base image is then made of
Debian's packages, which is what `debian:12-slim` is made of, too. Settings of pip and certificates of this machine are
lent to the build.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import psutil

from .sandbox import Image, podman

ROOT = Path(__file__).parents[2]
BASE = "docker.io/library/debian:12-slim"
NAME = "localhost/kaixu:check"
LENT = ("/etc/pip.conf", "/etc/xdg/pip", "/root/.config/pip", "/usr/local/share/ca-certificates")
CONFIG = """
lanes:
  echo:
    plugin: echo
    models:
      echo-chat: {type: chat, price: {input: 1, output: 2}}
"""
WAIT_S = 120


def say(text: str) -> None:
    """One line of progress."""
    print(f"==> {text}", flush=True)


def require(condition: object, problem: str) -> None:
    """Raises `SystemExit` with `problem`."""
    if not condition:
        raise SystemExit(f"image-check: {problem}")


def provide_base(scratch: Path) -> None:
    """The base image: from its registry, else made of Debian's packages."""
    if subprocess.run(["podman", "image", "exists", BASE], check=False).returncode == 0:
        return
    if subprocess.run(["podman", "pull", "-q", BASE], capture_output=True, check=False).returncode == 0:
        return
    require(
        shutil.which("mmdebstrap"), f"{BASE} cannot be pulled, and mmdebstrap is missing: apt-get install mmdebstrap"
    )
    say(f"{BASE} cannot be pulled: a root of the same packages is made by mmdebstrap")
    archive = scratch / "base.tar"
    sources = sorted(str(path) for path in Path("/etc/apt").glob("sources.list*/*.sources"))
    command = ["mmdebstrap", "--quiet", "--variant=minbase", "bookworm", str(archive)]
    subprocess.run([*command, *(sources or ["/etc/apt/sources.list"])], check=True)
    podman("import", "-q", str(archive), BASE)


def build() -> None:
    """`podman build`, with what this machine needs to reach its registries of packages."""
    lent = [path for path in LENT if Path(path).exists()]
    extra = os.environ.get("IMAGE_CHECK_VOLUMES", "").split()
    volumes = [word for path in [*lent, *extra] for word in ("--volume", f"{path}:{path}:ro")]
    words = ["podman", "build", "--format", "docker", "--pull=never", "--network", "host", "--isolation", "chroot"]
    with open(ROOT / "dist" / "image-check.log", "w") as log:
        done = subprocess.run([*words, *volumes, "-t", NAME, "."], cwd=ROOT, stdout=log, stderr=log, check=False)
    require(done.returncode == 0, f"the build failed, see {log.name}")


def health(port: int) -> int:
    """The status of `/api/health`; 0 where nothing answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/health", timeout=5) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def main() -> None:
    """Build it, look at it, run it, stop it."""
    require(os.geteuid() == 0, "run it as root: it mounts file systems")
    require(shutil.which("podman"), "podman is missing: apt-get install podman crun")
    (ROOT / "dist").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="kaixu-image-") as folder:
        scratch = Path(folder)
        scratch.chmod(0o755)
        provide_base(scratch)
        say("podman build")
        began = time.monotonic()
        build()
        image = Image(NAME, scratch)
        try:
            say(f"built in {time.monotonic() - began:.0f} s")
            look_at(image)
            run(image, scratch)
        finally:
            image.close()
    say("the image is as the Containerfile promises")


def look_at(image: Image) -> None:
    """What it holds, and what it must not hold."""
    require(min(image.user) > 0, "it runs as root")
    require(image.config.get("StopSignal") in ("SIGTERM", "15"), "its stop signal is not SIGTERM")
    require(image.config["Entrypoint"][0] == "kaixu", "its first process is not the gateway")
    for name in ("ADMIN_PASSWORD", "JWT_SECRET", "KEY_PEPPER", "DB_ENCRYPTION_KEY", "DATABASE_URL"):
        require(name not in image.variables, f"it sets {name}")
    root = Path(image.root)
    for forbidden in ("source", "build", "wheels", "root/.config/pip", "etc/pip.conf"):
        require(not any((root / forbidden).rglob("*")), f"/{forbidden} was left in it")
    for path in (root / "opt" / "kaixu").rglob("*"):
        require(path.suffix != ".env" and path.name != "secrets.json", f"{path} was left in it")
    megabytes = sum(path.lstat().st_size for path in (root / "opt" / "kaixu").rglob("*") if not path.is_dir()) / 1e6
    say(f"/opt/kaixu: {megabytes:.0f} MB; pip, compilers and sources are not in it")


def run(image: Image, scratch: Path) -> None:
    """Serve with a read-only root, call it, stop it."""
    data, config = scratch / "data", scratch / "config"
    for path in (data, config):
        path.mkdir()
    (config / "kaixu.yaml").write_text(CONFIG)
    os.chown(data, *image.user)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    variables = {"KAIXU_BIND": f"127.0.0.1:{port}"}
    binds = {"/data": (data, "rw"), "/etc/kaixu": (config, "ro")}

    def within(*words: str) -> subprocess.CompletedProcess[str]:
        command = image.command(words, variables, binds)
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=WAIT_S)

    done = within(
        "sh",
        "-c",
        "id -u; for f in / /etc /etc/kaixu /opt/kaixu /usr /data /tmp; do touch $f/x 2>/dev/null && echo $f; done",
    )
    require(done.stdout.split() == [str(image.user[0]), "/data", "/tmp"], f"it can write to {done.stdout.split()[1:]}")
    say("only /data and /tmp can be written to, and it is not root")

    log = (scratch / "serve.log").open("w+")
    words = [*image.config["Entrypoint"], *image.config["Cmd"], "--dev"]
    outer = subprocess.Popen(image.command(words, variables, binds), stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + WAIT_S
        while health(port) != 200:
            require(outer.poll() is None and time.monotonic() < deadline, Path(log.name).read_text()[-2000:])
            time.sleep(0.2)
        done = within(*image.health_check)
        require(done.returncode == 0, f"HEALTHCHECK says: {done.stderr}")
        while not (data / "dev-key").exists():
            time.sleep(0.1)
        key = (data / "dev-key").read_text().strip()
        body = {"provider": "echo", "model": "echo-chat", "messages": [{"role": "user", "content": "hello"}]}
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/api/gateway-chat",
            json.dumps(body).encode(),
            {"authorization": f"Bearer {key}", "content-type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            require(json.load(response)["finish_reason"] == "stop", "a call failed")
        say("it serves, its health check passes, a call is answered")
        [gateway] = psutil.Process(outer.pid).children()
        require(gateway.name() == "kaixu", f"its first process is {gateway.name()}")
        began = time.monotonic()
        gateway.send_signal(signal.SIGTERM)
        code = outer.wait(WAIT_S)
        require(code == 0, f"after SIGTERM it ended with {code}: {Path(log.name).read_text()[-2000:]}")
        say(f"SIGTERM reaches it: it ended with 0 after {time.monotonic() - began:.1f} s")
        done = within(*image.health_check)
        require(done.returncode != 0, "HEALTHCHECK passes although nothing serves")
    finally:
        for process in psutil.Process(outer.pid).children(recursive=True) if outer.poll() is None else []:
            process.kill()
        outer.wait()
        log.close()


if __name__ == "__main__":
    main()
