"""The process: opens and closes everything, serves it, applies a changed kaixu.yaml."""
