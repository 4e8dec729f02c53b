import math

import numpy as np
import pytest
import torch
from skimage.color import rgb2ycbcr
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from eorestore.data.degradation import Degradation
from eorestore.data.image_files import image_paths, read_image
from eorestore.errors import BandError
from eorestore.metrics.luma import SHAVE, eight_bit_luma, luma, psnr_luma, ssim_luma
from eorestore.processing.resize import enlarge


def images(bands=3, size=(40, 52), seed=0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    target = torch.rand(2, bands, *size, generator=generator)
    return target + 0.05 * torch.randn(target.shape, generator=generator), target


def everywhere(image: torch.Tensor) -> torch.Tensor:
    return torch.ones_like(image[..., :1, :, :], dtype=torch.bool)


def levels(image: torch.Tensor) -> np.ndarray:
    return np.floor(image.double().clamp(0, 1).numpy() * 255 + 0.5)


def reference(prediction: np.ndarray, target: np.ndarray) -> tuple[float, float]:
    """scikit-image on planes of luma with the settings of the protocol."""
    x, y = (plane[SHAVE:-SHAVE, SHAVE:-SHAVE] for plane in (prediction, target))
    _, whole = structural_similarity(
        x, y, data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=True
    )
    return peak_signal_noise_ratio(y, x, data_range=255), whole[5:-5, 5:-5].mean()


def test_luma_is_that_of_scikit_image():
    image = images()[1]
    for item in image:
        expected = rgb2ycbcr(item.double().permute(1, 2, 0).numpy())[..., 0]
        assert np.abs(luma(item.double())[0].numpy() - expected).max() < 1e-9
    black_and_white = torch.tensor([0.0, 1.0]).expand(3, 1, 2)
    assert luma(black_and_white.double()).flatten().tolist() == pytest.approx([16, 235])


def test_the_rgb_protocol_is_that_of_scikit_image():
    prediction, target = images()
    found = [metric(prediction, target, valid=everywhere(target)).tolist() for metric in (psnr_luma, ssim_luma)]
    for item in range(2):
        planes = [
            rgb2ycbcr(levels(image[item]).transpose(1, 2, 0).astype(np.uint8))[..., 0] for image in (prediction, target)
        ]
        assert (found[0][item], found[1][item]) == pytest.approx(reference(*planes), abs=1e-8)


def test_the_classic_protocol_is_that_of_scikit_image():
    prediction, target = images(bands=1)
    found = [metric(prediction, target, valid=everywhere(target)).tolist() for metric in (psnr_luma, ssim_luma)]
    for item in range(2):
        planes = [levels(image[item, 0]) for image in (prediction, target)]
        assert (found[0][item], found[1][item]) == pytest.approx(reference(*planes), abs=1e-8)


def test_the_rim_does_not_count():
    prediction, target = images()
    before = psnr_luma(prediction, target, valid=everywhere(target))
    prediction[..., :SHAVE, :], prediction[..., :, -SHAVE:] = 0, 1
    assert torch.equal(psnr_luma(prediction, target, valid=everywhere(target)), before)
    assert (psnr_luma(prediction, target, valid=everywhere(target), shave=3) < before - 0.1).all()


def test_a_difference_below_8_bits_is_none():
    target = (torch.rand(1, 3, 30, 30) * 255).round() / 255
    assert psnr_luma(target + 0.4 / 255, target, valid=everywhere(target)).item() == math.inf
    assert ssim_luma(target + 0.4 / 255, target, valid=everywhere(target)).item() == pytest.approx(1)
    assert psnr_luma(target + 0.6 / 255, target, valid=everywhere(target)).item() < 60


def test_values_outside_the_range_are_clipped_as_a_file_would():
    target = torch.ones(1, 3, 30, 30)
    assert psnr_luma(target + 0.5, target, valid=everywhere(target)).item() == math.inf


def test_invalid_pixels_cannot_change_the_score():
    prediction, target = images()
    valid = everywhere(target)
    valid[..., 10:20, 10:20] = False
    region = everywhere(target)
    region[..., 30:] = False
    before = [metric(prediction, target, valid=valid, region=region) for metric in (psnr_luma, ssim_luma)]
    prediction[..., 10:20, 10:20] = math.nan
    after = [metric(prediction, target, valid=valid, region=region) for metric in (psnr_luma, ssim_luma)]
    assert torch.equal(torch.stack(before), torch.stack(after))
    assert not torch.equal(before[0], psnr_luma(prediction, target, valid=valid))


def test_a_single_image_gives_a_scalar_and_too_small_a_one_no_number():
    prediction, target = images()
    one = psnr_luma(prediction[0], target[0], valid=everywhere(target[0]))
    assert one.shape == ()
    assert one == psnr_luma(prediction, target, valid=everywhere(target))[0]
    tiny = torch.zeros(1, 3, 8, 30)
    assert psnr_luma(tiny, tiny, valid=everywhere(tiny)).isnan().all()


def test_four_bands_have_no_luma():
    with pytest.raises(BandError, match="4 bands"):
        eight_bit_luma(torch.zeros(4, 8, 8))


@pytest.mark.real
@pytest.mark.parametrize(("protocol", "expected"), [("rgb", (28.431, 0.8113)), ("luma", (28.421, 0.8104))])
def test_bicubic_enlargement_of_set5_scores_what_is_published(protocol, expected, real_data):
    scores = []
    for path in image_paths(real_data / "sr" / "Set5"):
        high = Degradation(4).crop(torch.from_numpy(read_image(path).values / 255).double())
        if protocol == "luma":
            high = (eight_bit_luma(high) + 0.5).floor() / 255
        image = enlarge(Degradation(4, levels=255 if protocol == "rgb" else 0).apply(high), factor=4)
        scores.append([metric(image, high, valid=everywhere(high)).item() for metric in (psnr_luma, ssim_luma)])
    assert len(scores) == 5
    psnr, ssim = np.mean(scores, axis=0)
    assert psnr == pytest.approx(expected[0], abs=2e-3)
    assert ssim == pytest.approx(expected[1], abs=1e-4)
