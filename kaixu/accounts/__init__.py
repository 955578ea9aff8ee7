"""The rules of changing accounts: the same for the admin API and the command line."""
