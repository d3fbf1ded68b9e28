"""The plugin inside Invoke: its nodes, its models, and the runtime that sends their requests."""
