"""Converting films on a pool of nodes: how to use the official SDK with this service."""
