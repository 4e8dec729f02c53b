import numpy as np
import pytest
import pywt
import torch
from scipy.fft import dctn, idctn

from eorestore.errors import ConfigError
from eorestore.layers.frequency_bands import (
    BandLimits,
    DCTBands,
    FFTBands,
    WaveletBands,
    half_band,
    spectral_profile,
    symmetric_filter,
)
from eorestore.layers.reflection import reflect_pad

TRANSFORMS = {
    "dct": lambda: DCTBands(),
    "dct in blocks": lambda: DCTBands(grid="blocks"),
    "haar": lambda: WaveletBands("haar"),
    "db2": lambda: WaveletBands("db2"),
    "db4": lambda: WaveletBands("db4"),
    "fft": lambda: FFTBands(),
}
CENTRED = [name for name in TRANSFORMS if name != "dct in blocks"]
WITH_LIMITS = ["dct", "dct in blocks", "fft"]


def image(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def bands_of(name, pixels):
    with torch.no_grad():
        return TRANSFORMS[name]()(pixels)


@pytest.mark.parametrize("name", TRANSFORMS)
@pytest.mark.parametrize("size", [(64, 48), (33, 21), (5, 9)])
def test_the_bands_sum_to_the_image_whatever_its_size(name, size):
    pixels = image(2, 4, *size)
    assert torch.allclose(bands_of(name, pixels).sum(dim=1), pixels, atol=1e-5)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_constant_image_lies_in_the_low_band_alone(name):
    flat = torch.full((1, 2, 27, 34), 0.7)
    low, middle, high = bands_of(name, flat).unbind(dim=1)
    assert torch.allclose(low, flat, atol=1e-5)
    assert max(middle.abs().max(), high.abs().max()) < 1e-5


@pytest.mark.parametrize("name", CENTRED)
@pytest.mark.parametrize("size", [64, 65])
def test_an_impulse_stays_where_it_is_in_every_band(name, size):
    impulse = torch.zeros(1, 1, size, size)
    row, column = 32, 31
    impulse[..., row, column] = 1
    weight = bands_of(name, impulse)[0, :, 0].double().abs()
    places = torch.arange(size).double()
    assert float(weight.sum(dim=(1, 2)).min()) > 0.1
    for axis, expected in ((1, row), (2, column)):
        along = weight.sum(dim=3 - axis)
        assert torch.allclose(
            (along * places).sum(dim=1) / along.sum(dim=1), torch.tensor(expected).double(), atol=0.05
        )


def test_blocks_are_in_register_on_the_average_over_their_places():
    """In a block an impulse leans to the middle of its block; over all 64 places it does not."""
    drift = []
    for place in range(8):
        impulse = torch.zeros(1, 1, 24, 24)
        impulse[..., 8 + place, 11] = 1
        along = bands_of("dct in blocks", impulse)[0, :, 0].square().sum(dim=2)
        drift.append((along * torch.arange(24)).sum(dim=1) / along.sum(dim=1) - (8 + place))
    assert torch.stack(drift).mean(dim=0).abs().max() < 0.05
    assert torch.stack(drift).abs().max() > 0.5  # so the grid is not the default


def test_blocks_are_scipys_dct_of_the_image_cut_from_its_first_pixel():
    pixels = image(1, 1, 16, 24)
    transform = DCTBands(grid="blocks")
    with torch.no_grad():
        low = transform(pixels)[0, 0, 0].numpy()
        limit = transform.limits()[0, 0].numpy()
        order = np.hypot(*np.mgrid[:8, :8]) / 8
        mask = (1 + np.exp(-20 * limit)) / (1 + np.exp(-20 * (limit - order)))
    for row, column in ((0, 0), (8, 16)):
        block = pixels[0, 0, row : row + 8, column : column + 8].numpy()
        expected = idctn(mask * dctn(block, norm="ortho"), norm="ortho")
        assert np.allclose(low[row : row + 8, column : column + 8], expected, atol=1e-5)


def test_the_sliding_dct_is_the_mean_over_all_places_of_the_grid():
    pixels, blocks = image(1, 2, 40, 40), DCTBands(grid="blocks")
    with torch.no_grad():
        placed = [
            torch.roll(blocks(torch.roll(pixels, (dy, dx), (-2, -1))), (-dy, -dx), (-2, -1))
            for dy in range(8)
            for dx in range(8)
        ]
        mean, sliding = torch.stack(placed).mean(dim=0), DCTBands()(pixels)
    assert torch.allclose(mean[..., 8:-8, 8:-8], sliding[..., 8:-8, 8:-8], atol=1e-5)


@pytest.mark.parametrize(("wavelet", "moments"), [("haar", 1), ("db2", 2), ("db4", 4)])
def test_the_filter_is_the_autocorrelation_of_pywavelets_low_pass(wavelet, moments):
    low_pass = np.array(pywt.Wavelet(wavelet).dec_lo)
    autocorrelation = np.correlate(low_pass, low_pass, "full") / 2
    assert np.allclose(half_band(moments), autocorrelation[2 * moments - 1 :], atol=1e-12)


@pytest.mark.parametrize("wavelet", ["haar", "db2", "db4"])
def test_wavelet_bands_are_what_pywavelets_makes_of_each_level_alone(wavelet):
    pixels = image(1, 1, 96, 80)
    transform = WaveletBands(wavelet)
    ours = transform(pixels)[0, :, 0].numpy()
    (coarse, second), (finer, first) = pywt.swt2(pixels[0, 0].double().numpy(), wavelet, level=2)
    nothing = np.zeros_like(coarse)
    empty = (nothing,) * 3
    expected = (
        pywt.iswt2([(coarse, empty), (nothing, empty)], wavelet),
        pywt.iswt2([(nothing, second), (nothing, empty)], wavelet),
        pywt.iswt2([(nothing, empty), (nothing, first)], wavelet),
    )
    assert np.allclose(sum(expected), pixels[0, 0].numpy())  # PyWavelets' own parts sum up
    inside = (slice(transform.reach, -transform.reach),) * 2  # it continues an image periodically
    for band, other in zip(ours, expected, strict=True):
        assert np.allclose(band[inside], other[inside], atol=1e-5)
    assert finer.shape == coarse.shape


def test_the_radial_filter_is_the_fft_mask_on_an_image_of_its_size():
    transform, pixels = FFTBands(size=17), image(1, 1, 17, 17)
    with torch.no_grad():
        masks = transform.masks()[0]
        expected = torch.fft.ifft2(torch.fft.fft2(pixels[0, 0]) * masks).real
        periodic = pixels.tile(1, 1, 3, 3)
        ours = transform(periodic)[0, :2, 0, 17:34, 17:34]
    assert torch.allclose(ours, expected, atol=1e-5)


def test_the_mask_hangs_on_the_radius_alone_and_keeps_the_mean():
    masks = FFTBands(size=9).masks()[0]
    rows, columns = torch.meshgrid(torch.fft.fftfreq(9), torch.fft.fftfreq(9), indexing="ij")
    radius = (rows.square() + columns.square()).flatten()
    assert masks[:, 0, 0].tolist() == [1, 0]
    low = masks[0].flatten()[radius.argsort(stable=True)]
    assert (low[1:] <= low[:-1] + 1e-6).all()
    assert torch.equal(masks, masks.transpose(1, 2))


@pytest.mark.parametrize("name", WITH_LIMITS)
def test_gradient_reaches_the_limits(name):
    transform = TRANSFORMS[name]()
    transform(image(1, 1, 24, 24))[:, 1].square().sum().backward()
    assert all(parameter.grad.ne(0).all() for parameter in transform.parameters())


@pytest.mark.parametrize("kind", [DCTBands, FFTBands])
def test_limits_of_each_image_learn_and_do_not_see_the_rest_of_the_batch(kind):
    transform = kind(per_image=True)
    pixels = torch.cat([image(1, 2, 24, 32), 0.1 * image(1, 2, 24, 32, seed=1).cumsum(dim=-1)])
    profile = spectral_profile(pixels)
    limits = transform.limits(profile)
    assert not torch.allclose(limits[0], limits[1], atol=1e-4)
    together = transform(pixels, profile)
    for item in range(2):
        alone = transform(pixels[item : item + 1], profile[item : item + 1])
        assert torch.allclose(together[item : item + 1], alone, atol=1e-6)
    together[:, 1].square().sum().backward()
    assert all(parameter.grad.ne(0).any() for parameter in transform.parameters())


def test_limits_of_each_image_want_its_profile():
    with pytest.raises(ConfigError, match="need a profile"):
        BandLimits(per_image=True)()


@pytest.mark.parametrize("name", TRANSFORMS)
def test_an_item_of_a_batch_has_the_bands_that_it_has_alone(name):
    pixels = image(3, 2, 24, 24)
    assert torch.allclose(bands_of(name, pixels)[1:2], bands_of(name, pixels[1:2]), atol=1e-6)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_tile_with_a_halo_of_the_reach_has_the_bands_of_the_whole(name):
    pixels, reach = image(1, 3, 96, 104), TRANSFORMS[name]().reach
    whole, tile = bands_of(name, pixels), bands_of(name, pixels[..., 16:88, 24:])
    assert torch.equal(tile[..., reach:-reach, reach:], whole[..., 16 + reach : 88 - reach, 24 + reach :])


def test_the_profile_does_not_see_a_constant():
    pixels = image(2, 3, 20, 17)
    assert torch.allclose(spectral_profile(pixels), spectral_profile(pixels + 0.5), atol=1e-3)


def test_a_symmetric_filter_is_scipys_with_a_mirrored_edge():
    from scipy.ndimage import convolve1d

    pixels, taps = image(1, 1, 20, 30), (0.4, 0.2, 0.1)
    full = [0.1, 0.2, 0.4, 0.2, 0.1]
    expected = convolve1d(convolve1d(pixels[0, 0].numpy(), full, axis=0, mode="mirror"), full, axis=1, mode="mirror")
    assert np.allclose(symmetric_filter(pixels, taps)[0, 0].numpy(), expected, atol=1e-6)


@pytest.mark.parametrize(("height", "width"), [(6, 7), (2, 3), (1, 4)])
def test_padding_is_numpys_reflection_on_images_smaller_than_it_too(height, width):
    pixels = image(1, 1, height, width)
    expected = np.pad(pixels[0, 0].numpy(), ((5, 4), (3, 7)), mode="reflect")
    assert np.array_equal(reflect_pad(pixels, (3, 7, 5, 4))[0, 0].numpy(), expected)


def test_settings_that_have_no_meaning_are_refused():
    with pytest.raises(ConfigError, match="no wavelet is called bior"):
        WaveletBands("bior")
    with pytest.raises(ConfigError, match="no central pixel"):
        FFTBands(size=16)
