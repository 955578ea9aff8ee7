"""What is installed and switched on: plugins found, opened and frozen at start."""
