"""Several worker processes behind one port: a small supervisor, and a template that workers are forked from."""
