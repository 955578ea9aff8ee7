"""Imports from other gateways: reads their databases, translates their rows, writes ours."""
