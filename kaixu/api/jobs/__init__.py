"""The endpoints of jobs: submit, status, result, cancel."""
