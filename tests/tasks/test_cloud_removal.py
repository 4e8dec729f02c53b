"""The cloud-removal task: its losses and metrics on batches, its datasets from a manifest and from nothing."""

import numpy as np
import pytest
import torch

from eorestore.config import DataSettings, ModelConfig, RunConfig
from eorestore.data.scene_arrays import save_scene
from eorestore.data.synthetic_scene import synthetic_scene
from eorestore.errors import ConfigError, DataError, MissingError
from eorestore.losses.pixel import l1
from eorestore.metrics.fidelity import psnr
from eorestore.models.model import Model, Output, Prepared, Settings
from eorestore.processing.processor import glf_cr_processor
from eorestore.tasks.cloud_removal import CLOUD_REMOVAL
from eorestore.tasks.table import TASKS


def batch() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    cloud = torch.zeros(2, 1, 24, 24, dtype=torch.bool)
    cloud[0, :, :12] = True
    shadow = torch.zeros_like(cloud)
    shadow[1, :, 6:] = True
    valid = torch.ones_like(cloud)
    valid[..., -3:] = False
    return {
        "target": torch.rand(2, 13, 24, 24, generator=generator),
        "cloudy": torch.rand(2, 13, 24, 24, generator=generator),
        "valid": valid,
        "cloud": cloud,
        "shadow": shadow,
        "mask": (cloud | shadow).float(),
    }


def output(seed: int = 1) -> Output:
    """Every extra that a loss asks for, made of the image, so that each loss has a gradient there."""
    image = torch.rand(2, 13, 24, 24, generator=torch.Generator().manual_seed(seed)).requires_grad_()
    return Output(image, {"sigma": 1 + image, "attention": image.mean(dim=1, keepdim=True)})


def config(**data) -> RunConfig:
    settings = {"crop": 32, "items_per_epoch": 8, "validation_items": 4, "synthetic_size": 64, "cloud_size_px": (8, 24)}
    return RunConfig("run", "cloud-removal", ModelConfig("any"), DataSettings(**settings | data), {"l1": 1.0})


def model(*, needs_scene: bool = False) -> Model:
    class Remembering(Model):
        settings_type = Settings

        def prepare(self, scene):
            return Prepared(maps={"estimate": scene.overview["cloudy"] * 2})

    made = Remembering(Settings())
    made.needs_scene = needs_scene
    return made


@pytest.fixture
def manifest(tmp_path):
    lines = ["id,place,split,optical,sar"]
    for number, split in enumerate(["train", "train", "validation"]):
        scene = synthetic_scene((64, 64), generator=np.random.default_rng(number))
        save_scene(tmp_path / f"{number}.npz", optical=scene.optical, sar=scene.sar)
        lines.append(f"s{number},p{number},{split},{number}.npz,{number}.npz")
    (tmp_path / "scenes.csv").write_text("\n".join(lines))
    return tmp_path / "scenes.csv"


def test_the_task_stands_in_the_table_under_its_name():
    assert TASKS["cloud-removal"] is CLOUD_REMOVAL
    assert all(name == task.name for name, task in TASKS.items())


@pytest.mark.parametrize("name", CLOUD_REMOVAL.losses)
def test_a_loss_is_a_scalar_whose_gradient_stays_inside_valid(name):
    found, made = batch(), output()
    try:
        value = CLOUD_REMOVAL.losses[name](made, found)
    except MissingError as error:
        pytest.skip(f"{error.message}")
    value.backward()
    assert value.shape == ()
    assert value > 0
    gradient = made.image.grad.abs().sum(dim=1, keepdim=True)
    assert (gradient[~found["valid"]] == 0).all()
    if name.endswith("_masked"):
        assert (gradient[found["mask"] == 0] == 0).all()


def test_l1_is_taken_over_everything_and_l1_masked_inside_the_mask_alone():
    found, made = batch(), output()
    target, valid = found["target"], found["valid"]
    assert CLOUD_REMOVAL.losses["l1"](made, found) == l1(made.image, target, valid=valid)
    inside = l1(made.image, target, valid=valid & (found["cloud"] | found["shadow"]))
    assert CLOUD_REMOVAL.losses["l1_masked"](made, found) == inside


def test_a_likelihood_without_sigma_is_refused_with_what_the_model_gives():
    plain = Output(output().image, {"edges": output().image[:, :1]})
    for name in ("gaussian_nll", "gaussian_nll_masked"):
        with pytest.raises(ConfigError, match="needs a model that predicts sigma; this one gives edges"):
            CLOUD_REMOVAL.losses[name](plain, batch())


def test_carl_compares_clear_pixels_with_the_input_and_refuses_an_input_of_other_bands():
    found = batch()
    kept = torch.where(found["cloud"] | found["shadow"], found["target"], found["cloudy"])
    apart = l1(kept, found["target"], valid=found["valid"])
    assert CLOUD_REMOVAL.losses["carl"](Output(kept), found) == apart
    with pytest.raises(ConfigError, match="which has 4 bands; the target has 13"):
        CLOUD_REMOVAL.losses["carl"](output(), found | {"cloudy": found["cloudy"][:, :4]})


def test_perceptual_losses_look_at_b04_b03_and_b02():
    made = output()
    CLOUD_REMOVAL.losses["perceptual_ucmerced"](made, batch()).backward()
    assert made.image.grad.abs().sum(dim=(0, 2, 3)).nonzero().flatten().tolist() == [1, 2, 3]


def test_a_batch_without_mask_costs_nothing_inside_the_mask():
    found = batch() | {"mask": torch.zeros(2, 1, 24, 24)}
    assert CLOUD_REMOVAL.losses["l1_masked"](output(), found) == 0


def test_metrics_give_one_score_an_item_and_none_for_a_region_it_lacks():
    found, image = batch(), output().image
    scores = CLOUD_REMOVAL.metrics["psnr_cloud"](image, found)
    assert scores.shape == (2,)
    assert scores.isnan().tolist() == [False, True]
    assert torch.equal(CLOUD_REMOVAL.metrics["psnr"](image, found), psnr(image, found["target"], valid=found["valid"]))


def test_scenes_of_the_manifest_give_samples_with_everything_the_contract_names(manifest):
    train, validation = CLOUD_REMOVAL.datasets(config(manifest=str(manifest)), glf_cr_processor(), model())
    assert (len(train), len(validation)) == (8, 4)
    for samples in (train, validation):
        sample = samples[0]
        shapes = {name: tuple(values.shape) for name, values in sample.items()}
        one = (1, 32, 32)
        assert shapes == {
            "cloudy": (13, 32, 32),
            "sar": (2, 32, 32),
            "target": (13, 32, 32),
            "mask": one,
            "valid": one,
            "cloud": one,
            "shadow": one,
            "thickness": one,
        }


def test_training_and_validation_use_the_splits_of_the_manifest(manifest):
    clear = config(manifest=str(manifest), cover=(0.0, 0.0), crop=64, crops_per_scene=1)
    _, validation = CLOUD_REMOVAL.datasets(clear, glf_cr_processor(), model())
    scene = synthetic_scene((64, 64), generator=np.random.default_rng(2)).optical.values.clip(0, 1)
    for index in range(len(validation)):
        assert np.array_equal(validation[index]["target"].numpy(), scene)


def test_without_a_manifest_validation_places_are_other_places_than_training_places():
    train, validation = CLOUD_REMOVAL.datasets(config(synthetic=2, crop=64), glf_cr_processor(), model())
    means = [{round(float(s[i]["target"].mean()), 6) for i in range(len(s))} for s in (train, validation)]
    assert means[0]
    assert not means[0] & means[1]


def test_a_model_that_needs_the_scene_is_asked_once_it_is_clouded(manifest):
    train, _ = CLOUD_REMOVAL.datasets(config(manifest=str(manifest)), glf_cr_processor(), model(needs_scene=True))
    sample = train[3]
    assert torch.equal(sample["estimate"], 2 * sample["cloudy"])


def test_real_masks_are_pasted_where_they_are_named(tmp_path):
    half = np.zeros((2, 64, 64, 1), dtype=np.uint8)
    half[:, :, :32] = 1
    np.save(tmp_path / "masks.npy", half)
    settings = config(synthetic=1, masks=str(tmp_path / "masks.npy"))
    train, _ = CLOUD_REMOVAL.datasets(settings, glf_cr_processor(), model())
    assert any(train[index]["cloud"].any() for index in range(len(train)))


def test_a_manifest_without_a_training_scene_is_refused_unless_scenes_are_invented(manifest):
    text = manifest.read_text().replace("train", "test")
    manifest.write_text(text)
    with pytest.raises(DataError, match="no train scene"):
        CLOUD_REMOVAL.datasets(config(manifest=str(manifest)), glf_cr_processor(), model())
    train, _ = CLOUD_REMOVAL.datasets(config(manifest=str(manifest), synthetic=1), glf_cr_processor(), model())
    assert len(train) == 8


def test_the_loss_in_shadow_looks_at_shadow_alone():
    loss, found = CLOUD_REMOVAL.losses["log_mse_shadow"], batch()
    hit = found["shadow"] & found["valid"]
    wrong = Output(torch.where(hit, found["target"], found["target"] + 1))
    assert float(loss(wrong, found)) == 0
    assert float(loss(Output(found["target"] + 0.1 * hit), found)) > 1
    found["cloud"] = torch.ones_like(found["cloud"])
    assert float(loss(Output(found["target"] + 1), found)) == 0
