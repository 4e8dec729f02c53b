"""Differences to minimise; every one takes `valid`."""
