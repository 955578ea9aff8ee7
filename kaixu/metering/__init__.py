"""The rules of a call: what it may cost, who may make it, what it did cost. Plugins are called from here only."""
