"""Jobs and batches: submitted, run, their results; schedules and webhooks."""
