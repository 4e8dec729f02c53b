import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.ndimage import uniform_filter

from eorestore.errors import ConfigError, DataError
from eorestore.layers.halving import consistent, halve
from eorestore.layers.local_regression import local_detail
from eorestore.models.band_sharpening import BandSharpening, BandSharpeningSettings, split
from eorestore.models.model import SceneSample
from eorestore.models.table import build_model
from eorestore.processing.resize import enlarge


def scene(height=24, width=32, *, seed=0, batch=2):
    """Fine bands and repeated coarse ones, both of their own noise."""
    generator = torch.Generator().manual_seed(seed)
    fine = torch.rand(batch, 4, height, width, generator=generator)
    coarse = torch.rand(batch, 6, height // 2, width // 2, generator=generator)
    return torch.cat([fine, repeated(coarse)], dim=1)


def repeated(coarse):
    return coarse.repeat_interleave(2, dim=-2).repeat_interleave(2, dim=-1)


def trained(**settings):
    """A network whose last layer does something."""
    model = BandSharpening(BandSharpeningSettings(channels=8, blocks=2, **settings))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def prepared(model, image, *, mask=None):
    hidden = torch.zeros_like(image[:1, :1]) if mask is None else mask
    sample = {"multispectral": image[:1], "mask": hidden}
    return {name: value[None] for name, value in model.prepare(SceneSample(sample, (sample,))).constants.items()}


def test_the_coarse_bands_of_the_scene_come_back_when_the_image_is_halved():
    image = scene()
    with torch.no_grad():
        found = trained()(multispectral=image).image[:, 4:]
    before = F.interpolate(split(image, fine=4)[1], scale_factor=2, mode="bicubic")
    assert (found - before).abs().max() > 0.02
    torch.testing.assert_close(halve(found), split(image, fine=4)[1], atol=2e-6, rtol=0)


@pytest.mark.parametrize("name", ["band-sharpening", "bicubic-20m", "high-pass-injection"])
def test_the_fine_bands_come_out_bit_by_bit_as_they_went_in(name):
    image, model = scene(), build_model(name, {}).eval()
    found = model(multispectral=image, **(prepared(model, image) if model.needs_scene else {})).image
    assert torch.equal(found[:, :4], image[:, :4])


def test_an_untrained_network_is_local_regression_made_consistent():
    image = scene()
    fine, coarse = split(image, fine=4)
    start = F.interpolate(coarse, scale_factor=2, mode="bicubic") + local_detail(fine, coarse)
    expected = consistent(start, coarse)
    found = build_model("band-sharpening", {}).eval()(multispectral=image).image
    torch.testing.assert_close(found[:, 4:], expected)


def test_gain_and_the_offset_of_each_band_pass_through():
    image = scene()
    gain, offset = 3.7, torch.linspace(-1, 2, 10)[:, None, None]
    with torch.no_grad():
        plain, changed = (trained()(multispectral=given).image for given in (image, gain * image + offset))
    torch.testing.assert_close(changed, gain * plain + offset, atol=2e-4, rtol=0)


def test_bicubic_is_near_matlabs_inside_the_image():
    """Torch takes another cubic (a = -3/4 where MATLAB has -1/2): near on a smooth image, exact on none."""
    rows, columns = torch.meshgrid(torch.arange(16.0), torch.arange(20.0), indexing="ij")
    coarse = torch.sin(rows / 5)[None, None] * torch.cos(columns / 7)
    image = torch.cat([torch.zeros(1, 4, 32, 40), repeated(coarse).expand(1, 6, -1, -1)], dim=1)
    found = build_model("bicubic-20m", {}).eval()(multispectral=image).image[0, 4]
    expected = enlarge(coarse.double(), factor=2)[0, 0].float()
    torch.testing.assert_close(found[8:-8, 8:-8], expected[8:-8, 8:-8], atol=0.015, rtol=0)


def test_high_pass_injection_weighs_bands_as_numpys_least_squares_do():
    image, model = scene(), build_model("high-pass-injection", {}).eval()
    fine, coarse = (part[0].double().numpy() for part in split(image[:1], fine=4))
    small = halve(torch.from_numpy(fine)[None])[0].numpy()
    sides = [part - uniform_filter(part, (0, 3, 3), mode="nearest") for part in (small, coarse)]
    expected = np.linalg.lstsq(*(part.reshape(len(part), -1).T for part in sides))[0]
    np.testing.assert_allclose(prepared(model, image)["weights"][0], expected, atol=1e-4)


def test_high_pass_injection_finds_bands_that_are_mixtures_of_fine_ones():
    fine = scene(32, 40)[:, :4]
    truth = torch.einsum("bfyx,cf->bcyx", fine, torch.rand(6, 4, generator=torch.Generator().manual_seed(3))) + 0.1
    image = torch.cat([fine, repeated(halve(truth))], dim=1)[:1]
    model = build_model("high-pass-injection", {}).eval()
    found = model(multispectral=image, **prepared(model, image)).image
    torch.testing.assert_close(found[:, 4:], truth[:1], atol=1e-3, rtol=0)
    mixed = build_model("bicubic-20m", {}).eval()(multispectral=image).image
    assert (mixed[:, 4:] - truth[:1]).square().mean() > 100 * (found[:, 4:] - truth[:1]).square().mean()


def test_pixels_that_are_not_valid_teach_high_pass_injection_nothing():
    image, model = scene(), build_model("high-pass-injection", {}).eval()
    spoilt, mask = image.clone(), torch.zeros(1, 1, 24, 32)
    spoilt[:, :, :7, :9], mask[..., :8, :10] = 5.0, 1
    clean = prepared(model, image, mask=mask)["weights"]
    torch.testing.assert_close(prepared(model, spoilt, mask=mask)["weights"], clean)
    zero = image.clone()
    zero[:, :, :8, :10] = 0
    everything = prepared(model, zero, mask=torch.ones_like(mask))["weights"]
    torch.testing.assert_close(everything, prepared(model, zero, mask=mask)["weights"])


def test_a_scene_without_a_whole_pixel_is_refused():
    model = build_model("high-pass-injection", {})
    with pytest.raises(DataError, match="no coarse pixel"):
        prepared(model, torch.zeros(1, 10, 8, 8), mask=torch.ones(1, 1, 8, 8))


@pytest.mark.parametrize("wrong", [{"fine": 10}, {"fine": 0}, {"blocks": 0}, {"blur": -1.0}])
def test_settings_that_make_no_network_are_refused(wrong):
    with pytest.raises(ConfigError, match="make no network"):
        BandSharpeningSettings(**wrong)


def test_what_regression_cannot_tell_can_be_learned():
    """Where two fine bands are both bright: a rule that is no weighted sum of bands."""
    small = torch.rand(4, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    fine = (F.interpolate(small, size=(32, 32), mode="bicubic") > 0.5).float()
    truth = torch.cat([fine[:, :3] * fine[:, 1:], fine[:, 1:] * (1 - fine[:, :3])], dim=1)
    image = torch.cat([fine, repeated(halve(truth))], dim=1)
    model = build_model("band-sharpening", {"channels": 16, "blocks": 2})
    optimiser = torch.optim.Adam(model.parameters(), 5e-3)
    errors = []
    for _ in range(40):
        loss = (model(multispectral=image).image[:, 4:] - truth).square().mean()
        errors.append(loss.item())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert errors[-1] < 0.4 * errors[0]
