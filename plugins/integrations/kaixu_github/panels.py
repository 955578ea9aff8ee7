"""Panels."""

from kaixu.plugin import Panel

PANELS: list[Panel] = []
