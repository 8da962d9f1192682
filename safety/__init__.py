"""What keeps people and the robot unhurt. Knows joints and GPIO lines, nothing of the runtime."""
