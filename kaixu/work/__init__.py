"""What the gateway does by itself, beside its clients' calls."""
