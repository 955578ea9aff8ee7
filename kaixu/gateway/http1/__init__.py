"""Ordinary HTTP/1.1 requests, read and answered without Hypercorn's protocols, which get all others."""
