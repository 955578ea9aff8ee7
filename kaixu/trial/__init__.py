"""Gateways for the tests of plugin authors: run by `kaixu.plugin.testing.gateway`, never by an operator."""
