"""Scores to report; every one takes `valid`."""
