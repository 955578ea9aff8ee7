"""Jobs: what is handed in, what comes of it, and who may look."""
