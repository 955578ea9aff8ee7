"""The real programs and libraries that people use, before a real gateway: `make agents`, not a part of `make test`."""
