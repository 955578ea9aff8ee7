"""Installs the packages of a lock file and shows progress: what, how much, which step. Needs nothing but pip.

`python locks/install.py locks/local.txt` installs them with their hashes, and then this project itself, unless
`--packages-only` is given. What pip prints is shown only if it fails.
"""

from __future__ import annotations

import queue
import re
import subprocess
import sys
import threading
from pathlib import Path
from time import monotonic

#: Downloads from this size on, in megabytes, get a line of their own.
LARGE_MB = 5.0

#: After this many seconds without a line, one says that the installation still goes on.
SILENCE_S = 10.0

PACKAGE = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*==", re.MULTILINE)
DOWNLOAD = re.compile(r"^\s*Downloading (?:\S*/)?(?P<file>\S+) \((?P<size>[0-9.]+) (?P<unit>bytes|kB|MB|GB)\)")
MEGABYTES = {"bytes": 1e-6, "kB": 1e-3, "MB": 1.0, "GB": 1e3}
PIP = ("-m", "pip", "install", "--disable-pip-version-check", "--progress-bar", "off", "--no-input")


def say(words: str) -> None:
    """One line, at once."""
    sys.stdout.write(words + "\n")
    sys.stdout.flush()


class Progress:
    """What pip has done so far, read from what it says."""

    def __init__(self, packages: int) -> None:
        self.packages = packages
        self.seen = 0
        self.megabytes = 0.0
        self.doing = "reading the lock file"
        self.began = monotonic()
        self.told_at = self.began

    def tell(self, words: str) -> None:
        """Say how far it is."""
        self.told_at = monotonic()
        say(f"    {words}")

    def read(self, line: str) -> None:
        """One line of pip's."""
        if line.startswith(("Collecting ", "Processing ", "Requirement already satisfied: ")):
            self.seen += 1
            if line.startswith("Collecting "):
                self.doing = line.split()[1]
        elif line.startswith("Ignoring "):  # for other systems
            self.packages -= 1
        elif found := DOWNLOAD.match(line):
            size = float(found["size"]) * MEGABYTES[found["unit"]]
            self.megabytes += size
            self.doing = f"{found['file']} ({size:.1f} MB)"
            if size >= LARGE_MB:
                self.tell(f"package {self.seen} of {self.packages}: downloading {self.doing}")
        elif line.startswith("Installing collected packages"):
            self.seen = self.packages
            self.doing = f"unpacking {self.packages} packages"
            self.tell(f"{self.doing}; {self.megabytes:.0f} MB were downloaded")

    def still(self) -> None:
        """Say that it goes on, where nothing was said for a while."""
        if monotonic() - self.told_at >= SILENCE_S:
            at = "" if self.seen >= self.packages else f"package {self.seen} of {self.packages}: "
            self.tell(f"{at}{self.doing} (still working, {monotonic() - self.began:.0f} s so far)")


def run(command: list[str], progress: Progress | None = None) -> int:
    """Run pip; its words are shown only where it fails. Returns its exit code."""
    process = subprocess.Popen(  # noqa: S603 - pip, with our own arguments
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    )
    lines: queue.Queue[str | None] = queue.Queue()

    def listen() -> None:
        assert process.stdout is not None
        with process.stdout as output:
            for line in output:
                lines.put(line)
        lines.put(None)

    threading.Thread(target=listen, daemon=True).start()
    said: list[str] = []
    while True:
        try:
            line = lines.get(timeout=1.0)
        except queue.Empty:
            if progress is not None:
                progress.still()
            continue
        if line is None:
            break
        said.append(line)
        if progress is not None:
            progress.read(line)
            progress.still()
    code = process.wait()
    if code:
        sys.stderr.write("".join(said))
    return code


def main(words: list[str]) -> int:
    """Install a lock's packages, then the project."""
    lock = Path(next(word for word in words if not word.startswith("--")))
    packages = len(PACKAGE.findall(lock.read_text(encoding="utf-8")))
    say(f"==> {packages} packages of {lock} (can download hundreds of MB the first time)")
    began = monotonic()
    progress = Progress(packages)
    # A lock is complete: nothing is left to resolve, and older versions of pip cannot, with extras in it.
    if code := run([sys.executable, *PIP, "--no-deps", "--require-hashes", "-r", str(lock)], progress):
        return code
    if "--packages-only" not in words:
        say("==> the gateway itself, from this folder")
        if code := run([sys.executable, *PIP, "--no-deps", "--no-build-isolation", "--no-index", "-e", "."]):
            return code
    say(f"==> installed in {monotonic() - began:.0f} s, {progress.megabytes:.0f} MB downloaded")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
