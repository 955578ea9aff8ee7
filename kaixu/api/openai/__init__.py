"""OpenAI's protocol: what its clients send and expect, in and out of the contract's words."""
