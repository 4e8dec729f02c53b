"""Scenes larger than memory: integer tile plans, blending, self-ensemble."""
