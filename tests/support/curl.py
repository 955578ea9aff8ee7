"""A small `curl` for machines that have none: what the docs use of it, and nothing else."""

from __future__ import annotations

import sys
import urllib.error
import urllib.request
from argparse import ArgumentParser
from pathlib import Path


def main() -> None:
    """One request; the reply's body, whatever its status."""
    parser = ArgumentParser(prog="curl")
    parser.add_argument("url")
    parser.add_argument("-X", dest="method")
    parser.add_argument("-H", dest="headers", action="append", default=[])
    parser.add_argument("-d", dest="data")
    parser.add_argument("-s", "-N", dest="quiet", action="count")
    given = parser.parse_args(apart(sys.argv[1:]))
    url = given.url if "://" in given.url else f"http://{given.url}"
    data = None if given.data is None else given.data.encode()
    headers = dict(header.split(": ", 1) for header in given.headers)
    asked = urllib.request.Request(url, data, headers, method=given.method)  # a POST where there is data
    try:
        with urllib.request.urlopen(asked, timeout=60) as reply:
            sys.stdout.buffer.write(reply.read())
    except urllib.error.HTTPError as refused:
        sys.stdout.buffer.write(refused.read())


def apart(words: list[str]) -> list[str]:
    """`-sN` is `-s -N`."""
    return [one for word in words for one in (["-s", "-N"] if word == "-sN" else [word])]


def install(folder: Path) -> Path:
    """A folder for the PATH, with `curl` in it."""
    folder.mkdir(parents=True, exist_ok=True)
    command = folder / "curl"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} {Path(__file__).resolve()} "$@"\n')
    command.chmod(0o755)
    return folder


if __name__ == "__main__":
    main()
