"""The rules: what a call may cost, who may make it, what it did cost. The gate is the only caller of plugin code."""
