"""Nouns and rules: pools, nodes, jobs, tasks, job schedules, and every legal change of state."""
