"""The command line. ``app`` holds the commands and their help; what they do is beside it, loaded when it is needed."""
