"""Training: frames in a fixed order, losses, schedules, checkpoints that go on after a kill."""
