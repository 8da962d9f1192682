"""Cameras: a process for each, their frames in shared memory, and what the daemon knows of them."""
