"""Exact consistency with the input around any network that enlarges; knows no band, file or unit."""

from __future__ import annotations

from torch import Tensor

from eorestore.layers.reflection import reflect_pad
from eorestore.layers.resampling import enlarge, sharpen, shrink
from eorestore.models.model import Model, Output, Prepared, SceneSample
from eorestore.processing.taps import CONSISTENCY_REACH


class BackProjected(Model):
    """A network whose image, shrunk again, is the small image that it was given, within 1e-4 of its range.

        rest  = low - shrink(image)
        image = image + enlarge(sharpen(rest))

    Iterative back-projection (Irani and Peleg 1991) repeats image += enlarge(rest) until nothing is left. Enlarging
    and then shrinking is one symmetric filter along each axis, so what the repetition comes to in the end is known:
    `sharpen`, the inverse of that filter, cut at 8 pixels. One step does it, at the cost of a reach of 12 pixels
    more; cutting the inverse leaves some 2e-4 of the rest. What shrinking does not see stays that of the network.

    Sides need not be multiples of anything: the network's own padding is cut off before the step, since the edges of
    the image take part in it. profile, hard_from: what `prepare` of the network learned, for one that needs the scene.
    """

    multiple_of = 1

    def __init__(self, inner: Model) -> None:
        super().__init__(inner.settings)
        self.inner = inner
        self.scale, self.phase, self.tiling, self.extras = inner.scale, inner.phase, inner.tiling, inner.extras
        self.needs_scene = inner.needs_scene
        self.reach = None if inner.reach is None else inner.reach + CONSISTENCY_REACH

    def prepare(self, scene: SceneSample) -> Prepared:
        """What the network learns of the scene."""
        return self.inner.prepare(scene)

    def forward(self, *, low: Tensor, profile: Tensor | None = None, hard_from: Tensor | None = None) -> Output:
        """(batch, band, y, x) to (batch, band, scale * y, scale * x), as float32, with the extras of the network."""
        height, width = low.shape[-2:]
        multiple = self.inner.multiple_of
        padded = reflect_pad(low, (0, -width % multiple, 0, -height % multiple))
        learned = {name: value for name, value in (("profile", profile), ("hard_from", hard_from)) if value is not None}
        output: Output = self.inner(low=padded, **learned)
        rows, columns = height * self.scale, width * self.scale
        extras = {name: value[..., :rows, :columns] for name, value in output.extras.items()}
        image = output.image[..., :rows, :columns].float()
        rest = low.float() - shrink(image, factor=self.scale)
        return Output(image + enlarge(sharpen(rest, factor=self.scale), factor=self.scale), extras)
