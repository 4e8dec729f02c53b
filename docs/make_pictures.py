"""Draws docs/pictures from the package's own invented scenes, and one from a record; knows no page.

python docs/make_pictures.py
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation

import eorestore as eor
from eorestore.data.cloud_simulation import CloudSettings, SimulatedClouds, simulate_clouds
from eorestore.data.simulated_thermal import simulate_thermal
from eorestore.data.synthetic_scene import SceneSettings, SyntheticScene, synthetic_scene
from eorestore.experiments.record import read_record
from eorestore.layers.windows import cut_windows, cyclic_shift, merge_windows
from eorestore.metrics.fidelity import psnr, ssim
from eorestore.models.model import SceneSample
from eorestore.models.scene_estimate import estimate, prepare_estimate
from eorestore.processing.normalize import backscatter_scaling
from eorestore.processing.resize import enlarge, shrink
from eorestore.processing.units import decibel_to_power
from eorestore.raster import THERMAL, Raster
from eorestore.reports.picture import Stretch, class_picture, picture
from eorestore.reports.sar_report import codec_figure
from eorestore.tiling.compositing import membrane

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FOLDER = Path(__file__).with_name("pictures")
SIDE = 160  # pixels of a scene
_TOO_BRIGHT = 0.03  # reflectance, so that the seam is seen
_INK, _BLUE, _ORANGE, _GREEN = "#222222", "#1f6f8b", "#c8651b", "#11705a"
_SKY = CloudSettings(cover=0.3, size_px=(24, 60), thin_share=0.0, cirrus_probability=0.0, height_m=(300.0, 600.0))


def draw_all(folder: Path = FOLDER) -> None:
    """Write every picture of PICTURES into `folder`."""
    folder.mkdir(exist_ok=True)
    for name, draw in PICTURES.items():
        figure = draw()
        figure.savefig(folder / name, dpi=100, pil_kwargs={"optimize": True, "compress_level": 9})
        _shrink(folder / name)


def restored() -> Figure:
    """A clouded scene, what the default makes of it, and the truth."""
    scene = _scene(side=240)
    sky = simulate_clouds(scene.optical, replace(_SKY, thin_share=0.4, cover=0.35), generator=np.random.default_rng(5))
    cloudy = replace(scene.optical, values=sky.image)
    hidden = binary_dilation(sky.cloud | sky.shadow, iterations=3)
    found = eor.restore(cloudy, sar=scene.sar, mask=hidden)
    stretch = Stretch.of(scene.optical)
    shown = {"under clouds": cloudy, "restored": found, "truth": scene.optical}
    return _row({name: picture(one, stretch=stretch) for name, one in shown.items()}, width=2.3)


def enlarged() -> Figure:
    """A scene of 40 x 40 pixels, two ways to 160 x 160, and the truth."""
    truth = _scene().optical.select(("B02", "B03", "B04"))
    small = replace(
        truth, values=shrink(truth.values, factor=4), valid=truth.valid[::4, ::4], grid=truth.grid.scale(0.25)
    )
    found = {"as it came": replace(truth, values=small.values.repeat(4, 1).repeat(4, 2))}
    found |= {model: eor.restore(small, model=model, mask="none") for model in ("bicubic", "sr-x4")}
    stretch = Stretch.of(truth)
    return _row({name: picture(one, stretch=stretch) for name, one in (found | {"truth": truth}).items()})


def thermal() -> Figure:
    """A thermal scene, two ways to twice its size, and the truth, with the error of each."""
    side = SIDE
    truth = simulate_thermal(side, side, kind="mixed", generator=np.random.default_rng(7)).astype(np.float32)
    seen = truth.reshape(side // 2, 2, side // 2, 2).mean(axis=(1, 3), dtype=np.float64).astype(np.float32)
    grid = replace(_scene().optical.grid, height=side // 2, width=side // 2)
    scene = Raster(seen[None], np.ones(seen.shape, bool), THERMAL, grid)
    ways = {
        "as it came": seen.repeat(2, 0).repeat(2, 1),
        "bicubic": enlarge(seen[None].astype(np.float64), factor=2)[0],
        "zero-shot": eor.zero_shot(scene, scale=2).values[0],
    }
    ends = np.percentile(truth, (1, 99))
    told = {name: f"{name}\n{np.sqrt(np.mean((image - truth) ** 2)):.2f} K" for name, image in ways.items()}
    shown = {told[name]: image for name, image in ways.items()} | {"truth\n": truth}
    return _row({name: _heat(image, *ends) for name, image in shown.items()})


def stored() -> Figure:
    """A SAR scene as it came and out of files of two sizes."""
    scene = _scene(side=240).sar.select(("VV",))
    found = {"as it came\n32 bits a pixel": scene}
    with TemporaryDirectory() as folder:
        for rate in (0.9, 0.4):
            path = Path(folder) / f"{rate}.eoz"
            eor.compress(scene, path, bpp=rate)
            bits = 8 * path.stat().st_size / scene.valid.size
            found[f"out of a file\n{bits:.2f} bits a pixel"] = eor.decompress(path)
    return _row({name: _grey(one.values[0], -22.0, -4.0) for name, one in found.items()}, width=2.3)


def simulator() -> Figure:
    """Clear scene, the same under clouds, and the masks."""
    scene, cloudy, sky = _clouded()
    classes = np.where(sky.cloud, 2, np.where(sky.shadow, 1, 0))
    stretch = Stretch.of(scene.optical)
    return _row(
        {
            "clear": picture(scene.optical, stretch=stretch),
            "under simulated clouds": picture(cloudy, stretch=stretch),
            "cloud and shadow": class_picture(classes, {0: "#9fb59b", 1: "#37474f", 2: "#ffffff"}),
        }
    )


def decibel() -> Figure:
    """VV of one scene as power and as dB."""
    from matplotlib.figure import Figure as Canvas

    sar = _scene().sar.values[0].ravel()
    figure = Canvas(figsize=(6.4, 2.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.hist(decibel_to_power(sar), bins=80, color=_ORANGE)
    left.set(xlabel="linear power", yticks=[])
    right.hist(sar, bins=80, color=_BLUE)
    right.set(xlabel="dB", yticks=[])
    left.set_ylabel("pixels")
    return figure


def looks() -> Figure:
    """The same fields with three strengths of speckle."""
    pictures = {}
    for count in (1.0, 5.0, 20.0):
        values = _scene(looks=count).sar.values[0]
        pictures[f"{count:.0f} look{'s' if count > 1 else ''}"] = _grey(values, -22.0, -4.0)
    return _row(pictures)


def similarity() -> Figure:
    """A scene brightened, blurred and made noisy to one PSNR."""
    from scipy.ndimage import gaussian_filter

    scene = _scene().optical
    generator = np.random.default_rng(0)
    image = scene.values
    noise = generator.standard_normal(image.shape)
    blurred = np.stack([gaussian_filter(band, 3.0) for band in image]) - image
    ways = {"brighter": np.ones_like(image), "blurred": blurred, "noisy": noise}
    stretch = Stretch.of(scene)
    target = float(np.sqrt(np.mean(blurred**2)))
    pictures = {"scene\n": picture(scene, stretch=stretch)}
    for name, change in ways.items():
        other = image + change * (target / np.sqrt(np.mean(change**2)))
        worse = replace(scene, values=other.astype(np.float32))
        scores = [_score(metric, worse, scene) for metric in (psnr, ssim)]
        pictures[f"{name}\n{scores[0]:.1f} dB, SSIM {scores[1]:.2f}"] = picture(worse, stretch=stretch)
    return _row(pictures)


def residual() -> Figure:
    """Clouded scene, estimate, truth, and their difference."""
    scene, cloudy, sky = _clouded()
    guess = _estimate(scene, cloudy, sky)
    stretch = Stretch.of(scene.optical)
    left = (scene.optical.values - guess.values).mean(axis=0)
    return _row(
        {
            "clouded": picture(cloudy, stretch=stretch),
            "estimate": picture(guess, stretch=stretch),
            "truth": picture(scene.optical, stretch=stretch),
            "truth minus estimate": _grey(left, -0.08, 0.08),
        }
    )


def attention() -> Figure:
    """Pixels from which one pixel has heard after one, two and three layers of windows of 8."""
    size, window = 48, 8
    reached = torch.zeros(1, 1, size, size)
    reached[..., 21, 18] = 1
    pictures = {}
    for layer in range(3):
        shift = window // 2 if layer % 2 else 0
        tokens = cut_windows(cyclic_shift(reached, shift), window)
        shared = tokens.amax(dim=1, keepdim=True).expand_as(tokens)
        reached = cyclic_shift(merge_windows(shared, window, height=size, width=size), -shift)
        classes = reached[0, 0].numpy().astype(np.uint8)
        classes[21, 18] = 2
        edges = (np.arange(size) + shift) % window == 0
        grid = (edges[:, None] | edges[None]) & (classes == 0)
        classes[grid] = 3
        shown = class_picture(classes, {0: "#f4f4ee", 1: "#8fbcc9", 2: "#c8651b", 3: "#d5d5cc"})
        title = f"layer {layer + 1}{', shifted' if shift else ''}"
        pictures[title] = np.kron(shown, np.ones((4, 4, 1), np.uint8))
    return _row(pictures)


def rate_distortion() -> Figure:
    """Root mean square error in dB over bits a pixel, for rounding to steps and coding differences of neighbours."""
    from matplotlib.figure import Figure as Canvas

    figure = Canvas(figsize=(4.8, 2.8), layout="constrained")
    axes = figure.subplots()
    for count, colour in ((1.0, _ORANGE), (20.0, _BLUE)):
        image = _scene(looks=count).sar.values[0]
        points = [_coded(image, step) for step in (0.25, 0.5, 1, 2, 4, 8)]
        axes.plot(*zip(*points, strict=True), marker="o", color=colour, label=f"{count:.0f} look{'s' * (count > 1)}")
    axes.set(xlabel="bits a pixel", ylabel="error, dB (RMS)")
    axes.legend(frameon=False)
    return figure


def sar_rate_distortion() -> Figure:
    """PSNR30 and SSIM over bits a pixel: our codec and others, on the public test bands."""
    record = read_record(FOLDER.parents[1] / "results" / "sar-codecs.json")
    return codec_figure(record.scores)


def offset() -> Figure:
    """B03 as DN, before and from baseline 04.00 on."""
    from matplotlib.figure import Figure as Canvas

    figure = Canvas(figsize=(4.8, 2.4), layout="constrained")
    axes = figure.subplots()
    reflectance = _scene().optical.select(["B03"]).values.ravel()
    for added, colour in ((0, _BLUE), (1000, _ORANGE)):
        label = "from baseline 04.00 on" if added else "before"
        axes.hist(reflectance * 10_000 + added, bins=90, color=colour, alpha=0.8, label=label)
    axes.set(xlabel="DN of B03", yticks=[])
    axes.legend(frameon=False)
    return figure


def seam() -> Figure:
    """One row across a cloud: observed, restored as it is, and with the membrane."""
    from matplotlib.figure import Figure as Canvas

    scene, cloudy, sky = _clouded()
    hidden = sky.cloud | sky.shadow
    observed, plain = cloudy.values, _estimate(scene, cloudy, sky).values + np.float32(_TOO_BRIGHT)
    closed = plain + membrane(observed, plain, hidden, cloudy.valid)
    row, begin, end = max(_runs(hidden), key=lambda run: run[2] - run[1])
    columns, band = np.arange(max(begin - 25, 0), min(end + 25, SIDE)), cloudy.bands.index("B08")
    covered = hidden[row, columns]
    figure = Canvas(figsize=(6.4, 2.8), layout="constrained")
    axes = figure.subplots()
    axes.fill_between(
        columns,
        0,
        1,
        where=covered,
        step="mid",
        transform=axes.get_xaxis_transform(),
        color="#e4e4da",
        lw=0,
        label="masked",
    )
    for image, colour, name, shown in (
        (plain, _ORANGE, f"restored, {_TOO_BRIGHT} too bright", covered),
        (closed, _GREEN, "with the seam closed", covered),
        (observed, _INK, "observed, kept", ~covered),
    ):
        axes.plot(columns, np.where(shown, image[band, row, columns], np.nan), color=colour, label=name)
    axes.set(xlabel="column", ylabel="reflectance, B08", xlim=(columns[0], columns[-1]))
    figure.legend(frameon=False, fontsize="small", ncols=4, loc="outside upper center")
    return figure


PICTURES: Mapping[str, Callable[[], Figure]] = {
    "restored.png": restored,
    "enlarged.png": enlarged,
    "thermal.png": thermal,
    "stored.png": stored,
    "simulator.png": simulator,
    "decibel.png": decibel,
    "looks.png": looks,
    "ssim.png": similarity,
    "residual.png": residual,
    "attention.png": attention,
    "rate_distortion.png": rate_distortion,
    "sar-rate-distortion.png": sar_rate_distortion,
    "offset.png": offset,
    "seam.png": seam,
}


def _scene(*, looks: float = 5.0, side: int = SIDE) -> SyntheticScene:
    return synthetic_scene((side, side), generator=np.random.default_rng(7), settings=SceneSettings(looks=looks))


def _clouded() -> tuple[SyntheticScene, Raster, SimulatedClouds]:
    scene = _scene()
    sky = simulate_clouds(scene.optical, _SKY, generator=np.random.default_rng(3))
    return scene, replace(scene.optical, values=sky.image), sky


def _estimate(scene: SyntheticScene, cloudy: Raster, sky: SimulatedClouds) -> Raster:
    """The scene with its hidden pixels as the scene itself lets them be guessed."""
    hidden = sky.cloud | sky.shadow
    sar = torch.from_numpy(backscatter_scaling().encode(scene.sar.values))[None]
    mask = torch.from_numpy(hidden.astype(np.float32))[None, None]
    overview = {"cloudy": torch.from_numpy(cloudy.values)[None], "sar": sar, "mask": mask}
    found = prepare_estimate(SceneSample(overview, (overview,)), sees_cloud=True)
    guess = estimate(sar, found.maps["surface"], found.constants["coefficients"][None])[0].numpy()
    return replace(cloudy, values=np.where(hidden, guess, cloudy.values))


def _runs(hidden: NDArray[np.bool_]) -> Iterator[tuple[int, int, int]]:
    """(row, begin, end) of every masked run that has clear ground on both sides."""
    for row, covered in enumerate(hidden):
        edges = np.flatnonzero(np.diff(np.pad(covered.astype(np.int8), 1)))
        for begin, end in zip(edges[::2], edges[1::2], strict=True):
            if begin > 0 and end < len(covered):
                yield row, int(begin), int(end)


def _coded(image: NDArray[np.float32], step: float) -> tuple[float, float]:
    """(bits a pixel, RMS error) of rounding to `step`; bits are the entropy of horizontal differences."""
    levels = np.rint(image / step).astype(int)
    _, counts = np.unique(np.diff(levels, axis=1), return_counts=True)
    share = counts / counts.sum()
    return float(-(share * np.log2(share)).sum()), float(np.sqrt(np.mean((levels * step - image) ** 2)))


def _score(metric: Callable[..., torch.Tensor], image: Raster, target: Raster) -> float:
    pair = (torch.from_numpy(raster.values) for raster in (image, target))
    return float(metric(*pair, valid=torch.from_numpy(target.valid)[None]))


def _grey(values: NDArray[np.float32], low: float, high: float) -> NDArray[np.uint8]:
    scaled = np.clip((values - low) / (high - low), 0, 1) * 255
    return np.repeat(scaled.astype(np.uint8)[..., None], 3, axis=2)


def _heat(values: NDArray[np.floating], low: float, high: float) -> NDArray[np.uint8]:
    from matplotlib import colormaps

    scaled = np.clip((values - low) / (high - low), 0, 1)
    return (255 * colormaps["inferno"](scaled)[..., :3]).astype(np.uint8)


def _row(pictures: Mapping[str, NDArray[np.uint8]], *, width: float = 1.72) -> Figure:
    from matplotlib.figure import Figure as Canvas

    figure = Canvas(figsize=(width * len(pictures), width + 0.33), layout="constrained")
    for axes, (title, image) in zip(figure.subplots(1, len(pictures)), pictures.items(), strict=True):
        axes.imshow(image, interpolation="nearest")
        axes.set_title(title, fontsize=8)
        axes.set_axis_off()
    return figure


def _shrink(path: Path) -> None:
    """The picture with a palette: a third of the size, and speckle is no better for more greys than 16."""
    from PIL import Image

    with Image.open(path) as image:
        colour = image.convert("RGB")
    grey = np.ptp(np.asarray(colour).astype(np.int16), axis=2).max() == 0
    colour.quantize(16 if grey else 80, dither=Image.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    draw_all()
