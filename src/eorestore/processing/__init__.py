"""From physical values to tensors and back: units, clip-and-scale, the Processor."""

from eorestore.processing.normalize import BandScale, BandScaling
from eorestore.processing.processor import Processor

__all__ = ["BandScale", "BandScaling", "Processor"]
