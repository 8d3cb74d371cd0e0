"""Pricing options by Monte Carlo in two thousand tasks: a parameter sweep with the official SDK."""
