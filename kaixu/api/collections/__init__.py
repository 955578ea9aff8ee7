"""The doors of embeddings that stay: store, search, and what an account has of them."""
