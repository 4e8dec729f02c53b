"""PSNR, SSIM, MAE and RMSE against scikit-image and torchmetrics, and on a public scene."""

import numpy as np
import pytest
import torch
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio, structural_similarity

from eorestore.errors import DataError
from eorestore.metrics.fidelity import mae, psnr, rmse, ssim, ssim_paper
from eorestore.metrics.spectral import sam_degrees


@pytest.fixture
def pair() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(11)
    target = torch.rand(4, 48, 40, generator=generator, dtype=torch.float64)
    noise = torch.randn(4, 48, 40, generator=generator, dtype=torch.float64)
    return (target + 0.1 * noise).clamp(0, 1), target


@pytest.fixture
def everywhere() -> torch.Tensor:
    return torch.ones(1, 48, 40, dtype=torch.bool)


def test_psnr_is_that_of_scikit_image(pair, everywhere):
    expected = peak_signal_noise_ratio(pair[1].numpy(), pair[0].numpy(), data_range=1.0)
    assert psnr(*pair, valid=everywhere).item() == pytest.approx(expected, abs=1e-9)


def test_psnr_inside_a_region_is_that_of_scikit_image_on_its_pixels(pair, everywhere):
    region = torch.zeros_like(everywhere)
    region[:, 10:30, 5:25] = True
    inside = [image[:, 10:30, 5:25].numpy() for image in pair]
    expected = peak_signal_noise_ratio(inside[1], inside[0], data_range=1.0)
    assert psnr(*pair, valid=everywhere, region=region).item() == pytest.approx(expected, abs=1e-9)
    assert rmse(*pair, valid=everywhere, region=region).item() == pytest.approx(
        mean_squared_error(inside[1], inside[0]) ** 0.5, abs=1e-12
    )


def test_psnr_is_one_error_over_all_bands_and_not_the_mean_of_the_bands(pair, everywhere):
    prediction = pair[0].clone()
    prediction[0] = 1 - prediction[0]
    whole = psnr(prediction, pair[1], valid=everywhere)
    by_band = [psnr(prediction[[b]], pair[1][[b]], valid=everywhere) for b in range(4)]
    assert torch.stack(by_band).mean() - whole > 1


def test_ssim_over_whole_windows_is_that_of_scikit_image(pair, everywhere):
    expected = np.mean([_skimage_map(x, y)[5:-5, 5:-5].mean() for x, y in zip(*pair, strict=True)])
    assert ssim(*pair, valid=everywhere).item() == pytest.approx(expected, abs=1e-9)


def test_ssim_inside_a_region_is_the_mean_of_scikit_images_map_there(pair, everywhere):
    region = torch.zeros_like(everywhere)
    region[:, 0:20, 12:33] = True
    expected = np.mean([_skimage_map(x, y)[5:20, 12:33].mean() for x, y in zip(*pair, strict=True)])
    assert ssim(*pair, valid=everywhere, region=region).item() == pytest.approx(expected, abs=1e-9)


def test_zero_padded_ssim_is_whole_window_ssim_of_the_image_in_a_frame_of_zeros(pair, everywhere):
    framed = [np.pad(image.numpy(), ((0, 0), (10, 10), (10, 10))) for image in pair]
    expected = np.mean([_skimage_map(x, y)[10:-10, 10:-10].mean() for x, y in zip(*framed, strict=True)])
    assert ssim_paper(*pair, valid=everywhere).item() == pytest.approx(expected, abs=1e-9)


def test_ssim_is_that_of_torchmetrics(pair, everywhere):
    from torchmetrics.functional.image import structural_similarity_index_measure

    prediction, target = (image.float()[None] for image in pair)
    expected, whole = structural_similarity_index_measure(
        prediction, target, data_range=1.0, sigma=1.5, kernel_size=11, return_full_image=True
    )
    assert ssim(*pair, valid=everywhere).item() == pytest.approx(whole[..., 5:-5, 5:-5].mean().item(), abs=1e-5)
    assert expected.item() == pytest.approx(whole[..., 5:-5, 5:-5].mean().item(), abs=2e-3)


def test_ssim_of_a_half_valid_image_leaves_the_other_half_out_of_every_window(pair, everywhere):
    valid = everywhere.clone()
    valid[..., 20:] = False
    left = [image[..., :20] for image in pair]
    ours = ssim(*pair, valid=valid)
    inner = ssim(*left, valid=valid[..., :20], border="interior")
    # The half's own rim is scored with windows cut at the edge of validity, so only its inside agrees.
    region = torch.zeros_like(valid)
    region[..., :15] = True
    assert ssim(*pair, valid=valid, region=region).item() == pytest.approx(inner.item(), abs=1e-12)
    assert abs(ours - inner) < 0.02


def test_mae_is_the_mean_absolute_error_of_each_item(pair, everywhere):
    batch = [torch.stack([image, image.flip(0)]) for image in pair]
    batch[0][1] += 0.5
    scores = mae(*batch, valid=torch.stack([everywhere, everywhere]))
    expected = [np.abs(x.numpy() - y.numpy()).mean() for x, y in zip(*batch, strict=True)]
    assert scores.tolist() == pytest.approx(expected)


def test_an_image_smaller_than_the_window_is_refused():
    image = torch.rand(2, 10, 30)
    with pytest.raises(DataError, match="10 x 30 pixels are smaller"):
        ssim(image, image, valid=torch.ones(1, 10, 30, dtype=torch.bool))


@pytest.mark.real
@pytest.mark.parametrize(("crop", "expected"), [(256, (20.401, 0.729, 21.39)), (128, (19.44, 0.710, 21.7))])
def test_identity_on_winter_112_has_the_scores_of_the_sen12ms_cr_protocol(real_data, crop, expected):
    # Source: SEN12MS-CR sample ROIs2017_winter_112_p797, by the definitions of GLF-CR (Xu et al. 2022).
    rasterio = pytest.importorskip("rasterio")
    folder = real_data / "cloud" / "sen12mscr" / "ROIs2017_winter_112_p797"
    first = (256 - crop) // 2
    images = []
    for name in ("s2_cloudy.tif", "s2_cloudfree.tif"):
        with rasterio.open(folder / name) as file:
            counts = np.clip(file.read().astype(np.float64), 0, 10000) / 10000
        images.append(torch.from_numpy(counts[:, first : first + crop, first : first + crop]))
    valid = torch.ones(1, crop, crop, dtype=torch.bool)
    scores = [metric(*images, valid=valid).item() for metric in (psnr, ssim_paper, sam_degrees)]
    assert scores[0] == pytest.approx(expected[0], abs=0.005)
    assert scores[1] == pytest.approx(expected[1], abs=0.0006)
    assert scores[2] == pytest.approx(expected[2], abs=0.03)


def _skimage_map(x, y):
    _, whole = structural_similarity(
        np.asarray(y),
        np.asarray(x),
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=1.0,
        full=True,
    )
    return whole
