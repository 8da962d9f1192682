"""The daemon: it turns a learned policy into safe motion, on time."""
