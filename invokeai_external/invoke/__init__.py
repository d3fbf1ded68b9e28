"""The plugin for InvokeAI: its nodes, its models, and the runtime that sends their requests."""
