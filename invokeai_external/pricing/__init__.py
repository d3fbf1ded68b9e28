"""What a response cost, and what a plan will cost. Pure."""
