"""The way of a segment to the server: what goes when, its key, and the proof that it has arrived."""
