"""The training loop and all it needs to resume exactly."""
