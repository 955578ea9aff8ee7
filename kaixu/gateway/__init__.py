"""The process: start, serve, reload kaixu.yaml, stop."""
