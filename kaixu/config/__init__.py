"""What the operator wrote: kaixu.yaml and the environment, read, checked and typed."""
