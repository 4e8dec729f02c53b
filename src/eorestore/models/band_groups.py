"""Any number of bands through a network of few, a group at a time; knows no band by name."""

from __future__ import annotations

from collections.abc import Mapping

from einops import rearrange
from torch import Tensor

from eorestore.models.model import Model, Output, Prepared, SceneSample
from eorestore.processing.band_grouping import Grouping

SIGMA = "sigma"


class BandGroups(Model):
    """A network of k bands that serves n: groups of k bands go through it as further images of the batch.

        low (batch, n, y, x) -> (batch * group, k, y, x) -> network -> (batch * group, k, ...) -> (batch, n, ...)

    Each band is taken from the one group that is its own, see `processing.band_grouping`. Of the extras, `sigma` is
    taken as the image is; those that the network calls `joint` are one for all bands; all others are kept for every
    group, one group after the other.
    """

    def __init__(self, inner: Model, groups: Grouping) -> None:
        super().__init__(inner.settings)
        self.inner, self.groups = inner, groups
        self.scale, self.multiple_of, self.phase = inner.scale, inner.multiple_of, inner.phase
        self.reach, self.tiling, self.needs_scene = inner.reach, inner.tiling, inner.needs_scene
        count = len(groups.groups)
        bands = len(groups.taken)
        times = {name: 1 if name in inner.joint else count for name in inner.extras}
        self.extras = {name: bands if name == SIGMA else size * times[name] for name, size in inner.extras.items()}
        width = len(groups.groups[0])
        self._into = [place for group in groups.groups for place in group]
        self._out = [number * width + place for number, place in groups.taken]

    def prepare(self, scene: SceneSample) -> Prepared:
        """What the network learns of the scene, of all groups together."""
        return self.inner.prepare(
            SceneSample(self._folded(scene.overview), tuple(map(self._folded, scene.windows)), scene.factor)
        )

    def forward(self, *, low: Tensor, profile: Tensor | None = None, hard_from: Tensor | None = None) -> Output:
        """(batch, n, y, x) to (batch, n, scale * y, scale * x); the others are what `prepare` learned."""
        learned = {name: value for name, value in (("profile", profile), ("hard_from", hard_from)) if value is not None}
        # a constant of every item of the batch is that of each of its groups
        count = len(self.groups.groups)
        learned = {name: value.repeat_interleave(count, 0) for name, value in learned.items()}
        joint = {"together": count} if self.inner.joint else {}
        output: Output = self.inner(low=self._fold(low), **learned, **joint)
        image = self._unfold(output.image)[:, self._out]
        return Output(image, {name: self._extra(name, value) for name, value in output.extras.items()})

    def _extra(self, name: str, values: Tensor) -> Tensor:
        if name in self.inner.joint:
            return values[:: len(self.groups.groups)]
        unfolded = self._unfold(values)
        return unfolded[:, self._out] if name == SIGMA else unfolded

    def _fold(self, low: Tensor) -> Tensor:
        return rearrange(low[:, self._into], "b (g k) y x -> (b g) k y x", g=len(self.groups.groups))

    def _unfold(self, image: Tensor) -> Tensor:
        return rearrange(image, "(b g) k y x -> b (g k) y x", g=len(self.groups.groups))

    def _folded(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: self._fold(value) if name == "low" else value for name, value in inputs.items()}
