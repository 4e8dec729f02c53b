"""Scenes for training and tests: manifests, readers, simulators."""
