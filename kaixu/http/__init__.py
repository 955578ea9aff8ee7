"""The edge: the only place that knows a request. Below it everything is a value."""
