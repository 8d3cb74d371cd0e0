"""Placement: an indexed view of pools, nodes and waiting tasks in; a plan with reasons out."""
