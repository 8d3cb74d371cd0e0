"""The terminal: commands that talk to a running service, and the demonstrations."""
