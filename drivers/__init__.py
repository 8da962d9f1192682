"""Motors, sensors, GPIO and the ports they hang on. Knows nobody above."""
