"""The gateway's own chat API, as a whole and streamed."""
