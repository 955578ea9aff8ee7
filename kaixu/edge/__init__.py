"""Bytes in, bytes out: requests, responses, errors, credentials. Knows no endpoint."""
