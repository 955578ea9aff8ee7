"""The gateway's own chat API, whole and streamed."""
