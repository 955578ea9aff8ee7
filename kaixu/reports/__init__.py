"""Read-only reports: one file per report, with SQL, row types and JSON."""
