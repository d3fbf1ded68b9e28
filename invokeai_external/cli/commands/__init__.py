"""The commands: one module each, loaded when its command runs."""
