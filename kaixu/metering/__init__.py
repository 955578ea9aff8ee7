"""Admission, metering and settlement of calls. Plugins are called only from here."""
