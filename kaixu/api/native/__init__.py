"""The gateway's own API: chat, plain and streamed."""
