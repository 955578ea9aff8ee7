"""`python -m kaixu` is `kaixu`."""

from __future__ import annotations

from kaixu.cli import main

if __name__ == "__main__":
    main()
