"""The kAIxU Gateway: a metered AI gateway that one operator runs for many customers."""

__version__ = "0.1.0"
