"""Where keys, addresses and limits come from, and which source wins."""
