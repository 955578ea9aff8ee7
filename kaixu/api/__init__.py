"""What can be asked over HTTP: one folder for each family of endpoints."""
