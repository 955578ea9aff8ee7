"""Runs an image as `podman run --read-only` would, where podman can build but not run: as in a machine without cgroups.

The image's file system is mounted read-only, with a `/tmp` in memory and a writable data folder; user, environment,
folder and command are those of the image, so nothing here can differ from the Containerfile.
"""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

#: Becomes the root: `$ROOT` is the image, `$BINDS` are lines of `source target`, and the rest is the command.
ENTER = r"""
set -e
mount --bind "$ROOT" "$MERGED"
mount -t proc proc "$MERGED/proc"
mount --rbind /dev "$MERGED/dev"
mount -t tmpfs -o mode=1777 tmpfs "$MERGED/tmp"
echo "$BINDS" | while read -r source target kind; do
    [ -z "$source" ] && continue
    mount --bind "$source" "$MERGED$target"
    [ "$kind" = ro ] && mount -o remount,bind,ro "$MERGED$target"
done
mount -o remount,bind,ro "$MERGED"
exec chroot "$MERGED" /usr/bin/env -i "$@"
"""


class Image:
    """An image of podman's store."""

    def __init__(self, name: str, scratch: Path) -> None:
        self.name = name
        self.scratch = scratch
        [about] = json.loads(podman("image", "inspect", name))
        self.config: dict[str, Any] = about["Config"]
        self.health: dict[str, Any] = about["Healthcheck"]
        self.root = podman("image", "mount", name).strip()

    @property
    def variables(self) -> dict[str, str]:
        """The environment that the image sets."""
        return dict(one.split("=", 1) for one in self.config["Env"])

    @property
    def user(self) -> tuple[int, int]:
        """User and group."""
        user, _, group = self.config["User"].partition(":")
        return int(user), int(group or user)

    @property
    def health_check(self) -> list[str]:
        """The command of HEALTHCHECK."""
        kind, *command = self.health["Test"]
        assert kind == "CMD", "a shell is not needed"
        return list(command)

    def close(self) -> None:
        """Release its file system."""
        podman("image", "unmount", self.name)

    def command(
        self, words: Sequence[str], variables: Mapping[str, str], binds: Mapping[str, tuple[Path, str]]
    ) -> list[str]:
        """The command that runs `words` in the image. `binds`: by the path in it, the folder and `rw` or `ro`."""
        user, group = self.user
        merged = self.scratch / "merged"
        merged.mkdir(exist_ok=True)
        lines = "\n".join(f"{source} {target} {kind}" for target, (source, kind) in binds.items())
        environment = [f"{name}={value}" for name, value in {**self.variables, **variables}.items()]
        folder = self.config.get("WorkingDir") or "/"
        inner = f"cd {folder} && exec {shlex.join(words)}"
        privileges = ["setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups", "--no-new-privs"]
        privileges += ["--bounding-set=-all", "--inh-caps=-all"]
        return [
            *("unshare", "--mount", "--pid", "--fork", "--kill-child=SIGTERM", "--propagation", "private"),
            *("env", f"ROOT={self.root}", f"MERGED={merged}", f"BINDS={lines}", "sh", "-c", ENTER, "sh"),
            *environment,
            *privileges,
            *("sh", "-c", inner),
        ]


def podman(*words: str) -> str:
    """Run podman; its output. Raises `SystemExit` with its words."""
    done = subprocess.run(["podman", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"podman {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout
