import pytest
import torch

from eorestore.errors import ConfigError
from eorestore.models.sar_autoencoder import ResidualBlock, reach
from eorestore.models.table import build_model
from eorestore.restorer.inference import Execution, run_model
from eorestore.tiling.blending import Mosaic
from eorestore.tiling.tiles import plan_tiles

SMALL = {"channels": [8, 12], "latent": 4}


def parameters(**settings):
    return sum(weight.numel() for weight in build_model("sar-autoencoder", settings).parameters())


def test_variant_a_has_the_parameters_of_the_plan():
    assert parameters() == 1_852_625


def test_residual_blocks_stand_at_every_resolution_of_encoder_and_decoder():
    model = build_model("sar-autoencoder", {"residual": True})
    for half, widths in ((model.encoder, [64, 128, 256]), (model.decoder, [256, 128, 64])):
        blocks = [module for module in half if isinstance(module, ResidualBlock)]
        assert [block.change[0].in_channels for block in blocks] == widths
        assert [sum(isinstance(part, torch.nn.Conv2d) for part in block.change) for block in blocks] == [2, 2, 2]


def test_cbam_adds_little_and_a_latent_of_eight_is_too_narrow_for_it():
    # 2 x 256 x 16 for the channels, 2 x 7 x 7 for the places
    assert parameters(attention="features", latent=8) - parameters(latent=8) == 8192 + 98
    with pytest.raises(ConfigError, match="leaves no hidden unit on 8 channels"):
        build_model("sar-autoencoder", {"attention": "latent", "latent": 8})


@pytest.mark.parametrize(
    ("channels", "latent", "shape"),
    [([64, 128, 256], 16, (16, 16, 16)), ([8, 8, 8, 8], 64, (64, 8, 8)), ([8, 8], 4, (4, 32, 32))],
)
def test_the_depth_decides_the_size_of_the_latent(channels, latent, shape):
    model = build_model("sar-autoencoder", {"channels": channels, "latent": latent}).to("meta")
    assert model.encode(torch.zeros(1, 1, 256, 256, device="meta")).shape == (1, *shape)
    assert model(sar=torch.zeros(1, 1, 256, 256, device="meta")).image.shape == (1, 1, 256, 256)
    assert model.multiple_of == 256 // shape[-1]


def test_a_latent_place_of_the_plan_sees_61_pixels_and_a_pixel_of_the_image_more():
    # 61 is the figure of the literature for four 5 x 5 convolutions; the decoder reads neighbouring latent places too
    model = build_model("sar-autoencoder", {"channels": [2, 2, 2], "norm": "none"}).double().eval()
    x = torch.zeros(1, 1, 192, 192, dtype=torch.float64).requires_grad_()
    model.encode(x)[0, :, 6, 6].sum().backward()
    seen = x.grad[0, 0].abs().sum(1).nonzero().flatten()
    assert int(seen.max() - seen.min()) + 1 == 61
    assert model.reach == reach(4, residual=False) > 30


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("depth", [2, 3, 4])
def test_the_reach_is_that_of_the_gradient(depth, residual):
    settings = {"channels": [2] * (depth - 1), "latent": 2, "residual": residual, "norm": "none", "output": "linear"}
    model = build_model("sar-autoencoder", settings).double().eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(weight.abs() + 0.1)  # so that nothing cancels and no ReLU closes
    side = 2**depth
    length = -(-(2 * model.reach + 2 * side) // side) * side
    middle = length // 2 // side * side
    found = 0
    for place in range(middle, middle + side):
        x = torch.ones(1, 1, side, length, dtype=torch.float64).requires_grad_()
        model(sar=x).image[0, 0, 0, place].backward()
        seen = x.grad[0, 0].abs().sum(0).nonzero().flatten()
        found = max(found, place - int(seen.min()), int(seen.max()) - place)
    assert found == model.reach


def test_attention_makes_the_reach_global():
    assert build_model("sar-autoencoder", SMALL | {"attention": "features", "reduction": 4}).reach is None


def test_a_sigmoid_stays_inside_the_range_and_a_linear_output_does_not():
    x = torch.randn(1, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    images = {}
    for output in ("sigmoid", "linear"):
        model = build_model("sar-autoencoder", SMALL | {"output": output}, seed=1).eval()
        images[output] = model(sar=x).image.detach()
    assert images["sigmoid"].min() > 0
    assert images["sigmoid"].max() < 1
    assert images["linear"].min() < 0
    assert torch.allclose((images["linear"] - 0.5).sigmoid(), images["sigmoid"], atol=1e-6)


@pytest.mark.parametrize("norm", ["batch", "none"])
def test_a_new_network_does_not_shrink_its_image_to_a_constant(norm):
    model = build_model("sar-autoencoder", {"norm": norm, "output": "linear"}).eval()
    x = torch.rand(2, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    assert model(sar=x).image.detach().std() > 0.01


def test_forward_is_encoding_and_decoding():
    model = build_model("sar-autoencoder", SMALL).eval()
    x = torch.rand(1, 1, 16, 24, generator=torch.Generator().manual_seed(0))
    assert torch.equal(model.decode(model.encode(x)), model(sar=x).image)


def test_blended_tiles_are_the_whole_away_from_their_edges():
    model = build_model("sar-autoencoder", SMALL).eval()
    size = (50, 147)
    x = torch.rand(1, 1, *size, generator=torch.Generator().manual_seed(0))
    plan = plan_tiles(size, tile=64, overlap=16, mode=model.tiling, multiple_of=model.multiple_of, phase=model.phase)
    mosaic = Mosaic(plan, bands=1)
    for column, tile in enumerate(plan.rows[0]):
        window = x[..., tile.window.rows, tile.window.columns]
        mosaic.add(tile, run_model(model, {"sar": window}, Execution())[0].numpy(), position=(0, column))
    blended, whole = torch.from_numpy(mosaic.finish(0)), run_model(model, {"sar": x}, Execution())[0]
    assert len(plan.rows) == 1
    assert blended.shape == whole.shape
    exact = (blended - whole).abs().amax(dim=(0, 1)) < 1e-6
    first, last = plan.rows[0][0].core, plan.rows[0][-1].core
    assert exact[: first.width - max(16, model.reach)].all()
    assert exact[last.column + max(16, model.reach) :].all()
    assert not exact.all()


def test_settings_that_build_nothing_are_refused():
    with pytest.raises(ConfigError, match="at least 1"):
        build_model("sar-autoencoder", {"channels": []})
    with pytest.raises(ConfigError, match="latent 0"):
        build_model("sar-autoencoder", {"latent": 0})
