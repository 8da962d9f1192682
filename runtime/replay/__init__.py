"""A recording against a policy, or against the emulated robot."""
