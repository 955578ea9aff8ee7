"""The endpoints: one folder for each API."""
