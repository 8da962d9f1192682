"""The local buffer: segments on the disk, what is kept of them, and their way to the server. See docs/spool.md."""
