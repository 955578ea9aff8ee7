"""Anthropic's API: translates its requests into the plugin contract, and the contract's events into its replies."""
