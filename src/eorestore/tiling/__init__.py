"""Scenes larger than memory: integer tile plans, blending, self-ensemble; images in memory in patches and passes."""
