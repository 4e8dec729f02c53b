"""All scores of one decoded radar image by name, and which way each is better; knows no codec and no rate."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from torch import Tensor

from eorestore.errors import UnknownNameError
from eorestore.metrics import sar, sar_edges, sar_uses, speckle

Better = Literal["higher", "lower", "zero", "one"]


@dataclass(frozen=True)
class Score:
    """A metric of the table. compute: (decoded, original, valid=) -> (batch,). better: where the best value lies."""

    compute: Callable[..., Tensor]
    better: Better
    windowed: bool = False  # takes `lows`
    polarised: bool = False  # needs VV and VH
    side: int = 1  # pixels that an image needs along an axis


SCORES: Mapping[str, Score] = {
    "psnr30": Score(sar.psnr30, "higher"),
    "psnr40": Score(sar.psnr40, "higher"),
    "rmse_db": Score(sar.rmse_db, "lower"),
    "max_error_db": Score(sar.max_error_db, "lower"),
    "p999_error_db": Score(sar.p999_error_db, "lower"),
    "ssim": Score(sar.ssim_db, "higher", windowed=True, side=11),
    "ms_ssim": Score(sar.ms_ssim_db, "higher", windowed=True, side=176),
    "enl_ratio": Score(speckle.enl_ratio, "one"),
    "bias_db": Score(sar.mean_bias_db, "zero"),
    "bias_block_median_db": Score(sar.block_bias_median_db, "zero"),
    "bias_block_rms_db": Score(sar.block_bias_rms_db, "lower"),
    "bias_block24_median_db": Score(partial(sar.block_bias_median_db, block=24, offset=(5, 11)), "zero"),
    "bias_block24_rms_db": Score(partial(sar.block_bias_rms_db, block=24, offset=(5, 11)), "lower"),
    "ratio_mean": Score(speckle.ratio_mean, "one"),
    "ratio_log_std": Score(speckle.ratio_log_std, "lower"),
    "epi_pearson": Score(sar_edges.edge_pearson, "higher"),
    "epi_cosine": Score(sar_edges.edge_cosine, "higher"),
    "laplacian": Score(sar_edges.laplacian_correlation, "higher"),
    "roa": Score(sar_edges.roa_correlation, "higher"),
    "texture_ratio": Score(speckle.texture_ratio, "one"),
    "spectrum_ratio": Score(speckle.spectrum_ratio, "one"),
    "autocorrelation_shift": Score(speckle.autocorrelation_shift, "zero"),
    "histogram_l1": Score(sar.histogram_distance, "lower", windowed=True),
    "quantile_low_shift_db": Score(partial(sar.quantile_shift_db, share=0.001), "zero"),
    "quantile_high_shift_db": Score(partial(sar.quantile_shift_db, share=0.999), "zero"),
    "water_iou": Score(sar_uses.water_iou, "higher"),
    "change_false_alarms": Score(sar_uses.change_false_alarms, "lower"),
    "ship_agreement": Score(sar_uses.ship_agreement, "higher"),
    "band_ratio_error_db": Score(sar_uses.band_ratio_error_db, "lower", polarised=True),
    "radar_vegetation_error": Score(sar_uses.radar_vegetation_error, "lower", polarised=True),
    "m_index": Score(speckle.m_index, "zero"),
}

DESPECKLING = ("m_index",)
"""Scores that say something of a despeckler only."""

FIDELITY = tuple(name for name in SCORES if name not in DESPECKLING)


def sar_scores(
    decoded: Tensor, original: Tensor, *, valid: Tensor, lows: Sequence[float], names: Sequence[str] = FIDELITY
) -> dict[str, Tensor]:
    """Scores by name: those of `names` that the image has the bands and the size for.

    Args:
        decoded: (batch, band, y, x) or (band, y, x) in decibels.
        original: the same shape.
        valid: bool of that shape, or with one band; what lies outside cannot change a score.
        lows: where the 40 dB window of each band begins; one number stands for all bands.
        names: of `SCORES`.

    Returns:
        (batch,) or scalars, float64.

    Raises:
        UnknownNameError: a name is not in the table.
        DataError: the shapes do not fit.
    """
    bands, side = original.shape[-3], min(original.shape[-2:])
    found: dict[str, Tensor] = {}
    for name in names:
        if name not in SCORES:
            raise UnknownNameError("score", name, SCORES)
        score = SCORES[name]
        if side < score.side or (score.polarised and bands != 2):
            continue
        more = {"lows": lows} if score.windowed else {}
        found[name] = score.compute(decoded, original, valid=valid, **more)
    return found
