"""The endpoints: one folder per API."""
