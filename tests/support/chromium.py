"""Debian's Chromium."""

from __future__ import annotations

import shutil

#: The one without a window takes a third less work; where Debian has no such package, the whole one. "": none.
CHROMIUM = next(filter(shutil.which, ("/usr/bin/chromium-headless-shell", "/usr/bin/chromium")), "")
MISSING = "chromium is missing: apt-get install chromium-headless-shell"
