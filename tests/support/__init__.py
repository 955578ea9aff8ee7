"""What tests stand on: a vendor's stand-in, gateway processes, a few shortcuts to the database."""
