"""SQL and nothing but: every statement that the gateway sends, with the shape of its rows."""
