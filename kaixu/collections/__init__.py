"""Collections: split texts into chunks, embed, store and search them, and use them in chats."""
