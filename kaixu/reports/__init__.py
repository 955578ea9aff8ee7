"""Read-only reports: each is one file with its SQL, its row types and its JSON."""
