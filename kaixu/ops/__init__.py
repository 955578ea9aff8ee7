"""What runs beside the calls: the monitor, alerts, background tasks. Seen by all, sees none of them."""
