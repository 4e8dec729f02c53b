"""Runs, records and comparisons."""
