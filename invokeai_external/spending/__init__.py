"""What images cost, as it is recorded, and the limits on it."""
