"""Monitor events, background tasks, leases, sealing: imports none of the other rooms."""
