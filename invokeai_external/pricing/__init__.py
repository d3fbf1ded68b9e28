"""What an answer cost and what a plan may cost. Pure."""
