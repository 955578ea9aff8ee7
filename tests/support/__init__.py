"""Test tools: fake vendors, gateway processes, and helpers for the database."""
