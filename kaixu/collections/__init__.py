"""Collections: cut texts into chunks, embed and store them, search them, and use them in chats."""
