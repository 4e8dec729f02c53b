"""The loss of CLIP: what enters the network, and how the folder of its weights is read."""

import importlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from eorestore.errors import EXIT_MISSING, CheckpointError, MissingError
from eorestore.losses import feature_weights
from eorestore.losses.feature_weights import check_features, feature_hashes
from eorestore.losses.semantic import clip_semantic

RGB = (2, 1, 0)
SIDE = 28


@dataclass(frozen=True)
class VisionConfig:
    image_size: int
    projection_dim: int

    @classmethod
    def from_pretrained(cls, folder, *, local_files_only):
        assert local_files_only
        return cls(**json.loads((Path(folder) / "config.json").read_text())["vision_config"])


class Vision(torch.nn.Module):
    """As CLIPVisionModelWithProjection is called and answers; one patch embedding and a projection."""

    def __init__(self, config):
        super().__init__()
        self.vision_model = torch.nn.Conv2d(3, 8, 14, stride=14)
        self.visual_projection = torch.nn.Linear(8, config.projection_dim, bias=False)

    def forward(self, *, pixel_values):
        assert pixel_values.shape[-2:] == (SIDE, SIDE)
        pooled = self.vision_model(pixel_values).tanh().mean(dim=(2, 3))
        return SimpleNamespace(image_embeds=self.visual_projection(pooled))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("EORESTORE_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    feature_weights._loaded.cache_clear()
    yield tmp_path
    feature_weights._loaded.cache_clear()


@pytest.fixture
def clip(folder, monkeypatch):
    """A stand-in for transformers, and a folder that holds its weights with the text half that is not needed."""
    module = ModuleType("transformers")
    module.__spec__ = importlib.machinery.ModuleSpec("transformers", None)
    module.CLIPVisionConfig, module.CLIPVisionModelWithProjection = VisionConfig, Vision
    monkeypatch.setitem(sys.modules, "transformers", module)
    (folder / "clip").mkdir()
    config = {"image_size": SIDE, "projection_dim": 5}
    (folder / "clip" / "config.json").write_text(json.dumps({"vision_config": config}))
    torch.manual_seed(0)
    vision = Vision(VisionConfig(**config))
    save_file(vision.state_dict() | {"text_model.x": torch.zeros(3)}, folder / "clip" / "model.safetensors")
    return vision


def pair(height: int = 40, width: int = 36) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    images = (torch.rand(2, 4, height, width, generator=generator) for _ in range(2))
    return *images, torch.ones(2, 1, height, width, dtype=torch.bool)


def embedded(vision: torch.nn.Module, image: torch.Tensor) -> torch.Tensor:
    mean, std = torch.tensor([0.48145466, 0.4578275, 0.40821073]), torch.tensor([0.26862954, 0.26130258, 0.27577711])
    rgb = F.interpolate(image[:, [2, 1, 0]], (SIDE, SIDE), mode="bicubic", antialias=True)
    return vision(pixel_values=(rgb - mean.view(1, 3, 1, 1)) / std.view(1, 3, 1, 1)).image_embeds


def test_it_is_one_minus_the_cosine_of_the_embeddings_of_both_images(clip):
    prediction, target, valid = pair()
    expected = 1 - F.cosine_similarity(embedded(clip, prediction), embedded(clip, target)).mean()
    found = clip_semantic(prediction, target, valid=valid, rgb=RGB)
    assert found.item() == pytest.approx(expected.item(), rel=1e-4)


@pytest.mark.usefixtures("clip")
def test_the_gradient_reaches_every_pixel_of_red_green_and_blue_and_lowers_the_loss():
    prediction, target, valid = pair()
    image = prediction.requires_grad_()
    before = clip_semantic(image, target, valid=valid, rgb=RGB)
    before.backward()
    assert ((image.grad[:, :3] != 0).float().mean(dim=(2, 3)) > 0.9).all()
    assert (image.grad[:, 3] == 0).all()
    after = clip_semantic(image - image.grad / image.grad.abs().max() * 0.02, target, valid=valid, rgb=RGB)
    assert after < before


@pytest.mark.usefixtures("clip")
def test_it_is_zero_at_equality():
    _, target, valid = pair()
    assert clip_semantic(target.clone(), target, valid=valid, rgb=RGB) == 0


@pytest.mark.usefixtures("clip")
def test_invalid_pixels_and_items_without_a_valid_one_do_not_count():
    prediction, target, valid = pair()
    valid[0, :, 5:20] = False
    valid[1] = False
    hidden = ~valid.expand_as(target)
    values = []
    for filling in (0.0, float("nan")):
        image = prediction.masked_fill(hidden, filling).requires_grad_()
        value = clip_semantic(image, target.masked_fill(hidden, filling), valid=valid, rgb=RGB)
        value.backward()
        values.append(value.item())
        assert (image.grad[hidden] == 0).all()
        assert torch.isfinite(image.grad).all()
    assert values[0] == values[1] > 0


def test_the_file_in_use_is_hashed_for_the_record(clip, folder):
    assert len(list(clip.parameters())) == 3
    check_features(["clip_semantic"])
    assert feature_hashes(["clip_semantic"]).keys() == {"features/model.safetensors"}
    (folder / "clip" / "config.json").unlink()
    with pytest.raises(MissingError, match=r"has no config\.json"):
        check_features(["clip_semantic"])


def test_a_file_without_a_weight_is_refused_and_not_filled_at_random(clip, folder):
    tensors = clip.state_dict()
    del tensors["visual_projection.weight"]
    save_file(tensors, folder / "clip" / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"lacks visual_projection\.weight"):
        check_features(["clip_semantic"])


@pytest.mark.usefixtures("clip")
def test_absent_weights_are_named(folder):
    (folder / "clip" / "model.safetensors").unlink()
    with pytest.raises(MissingError, match=r"the weights of CLIP .* looked for clip/model\.safetensors") as failure:
        check_features(["clip_semantic"])
    assert failure.value.exit_code == EXIT_MISSING


@pytest.mark.usefixtures("folder")
def test_without_transformers_the_extra_that_holds_it_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MissingError, match="transformers is not installed") as failure:
        check_features(["l1", "clip_semantic"])
    assert failure.value.fix == "pip install 'eorestore[diffusion]'"
    check_features(["l1"])


def test_a_tiny_clip_of_transformers_is_read_from_its_folder(folder):
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    torch.manual_seed(0)
    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = transformers.CLIPConfig(
        text_config=small | {"vocab_size": 50, "projection_dim": 8},
        vision_config=small | {"image_size": SIDE, "patch_size": 14, "projection_dim": 8},
        projection_dim=8,
    )
    model = transformers.CLIPModel(config).eval()
    model.save_pretrained(folder / "clip")
    prediction, target, valid = pair()

    def vision(*, pixel_values):
        pooled = model.vision_model(pixel_values=pixel_values).pooler_output
        return SimpleNamespace(image_embeds=model.visual_projection(pooled))

    with torch.no_grad():
        expected = 1 - F.cosine_similarity(embedded(vision, prediction), embedded(vision, target)).mean()
    image = prediction.requires_grad_()
    found = clip_semantic(image, target, valid=valid, rgb=RGB)
    found.backward()
    assert found.item() == pytest.approx(expected.item(), rel=1e-3)
    assert (image.grad[:, :3] != 0).float().mean() > 0.9
