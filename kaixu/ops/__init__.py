"""Monitor events, background tasks, leases, sealing: used by the rooms above, imports none of them."""
