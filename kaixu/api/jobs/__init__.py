"""The doors of jobs."""
