"""The endpoints of collections: embed and store, search, manage; and `retrieve` of chats."""
