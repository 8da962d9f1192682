"""Processes that the daemon starts beside itself and watches: the policy worker and the recorder."""
