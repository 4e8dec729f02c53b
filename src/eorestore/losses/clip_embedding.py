"""The image half of CLIP, frozen, from a folder of the user's; knows no loss, and never downloads.

```
folder of weights/  clip/  config.json  model.safetensors (or pytorch_model.bin)
```
"""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from eorestore.errors import CheckpointError, MissingError
from eorestore.losses.network_files import filled
from eorestore.models.weight_files import find_weights, read_weights, tensors_of

FOLDERS = ("clip", "clip-vit-base-patch32")
FILES = tuple(f"{folder}/{file}" for folder in FOLDERS for file in ("model.safetensors", "pytorch_model.bin"))
MEAN = (0.48145466, 0.4578275, 0.40821073)  # of the RGB images in [0, 1] that CLIP was trained on
STD = (0.26862954, 0.26130258, 0.27577711)


class ImageEmbedding(nn.Module):
    """One vector an image: resized to the side that CLIP knows, standardised, through its vision transformer.

    ```
    rgb -> resize to side x side (bicubic, antialiased) -> standardise -> ViT -> projection
    ```

    CLIP's own preparation (Radford et al. 2021) crops the middle square and rounds to 8 bits; here all of an image
    counts, squeezed where it is no square, and every step has a gradient. The parameters take none.

    vision: a `CLIPVisionModelWithProjection` of transformers. side: pixels.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, vision: nn.Module, *, side: int) -> None:
        super().__init__()
        self.vision = vision
        self.side = side
        self.register_buffer("mean", _per_channel(MEAN), persistent=False)
        self.register_buffer("std", _per_channel(STD), persistent=False)
        self.requires_grad_(requires_grad=False)

    def forward(self, rgb: Tensor) -> Tensor:
        """(batch, 3, y, x) in [0, 1] -> (batch, channel), of any length."""
        size = (self.side, self.side)
        seen = F.interpolate(rgb, size, mode="bicubic", antialias=True, align_corners=False)
        embedding: Tensor = self.vision(pixel_values=(seen - self.mean) / self.std).image_embeds
        return embedding


def find_clip() -> Path:
    """The file of CLIP's weights. Raises MissingError where it, its config.json or transformers is not here."""
    if importlib.util.find_spec("transformers") is None:
        raise MissingError.package("transformers", "diffusion")
    path = find_weights(FILES, what="CLIP (transformers' format, such as openai/clip-vit-base-patch32)")
    if not (path.parent / "config.json").is_file():
        raise MissingError(f"{path.parent} has no config.json", fix=f"put the one of the same model beside {path.name}")
    return path


def load_clip(path: Path) -> ImageEmbedding:
    """CLIP's image half, with every weight from the file at `path`. Raises CheckpointError."""
    transformers: Any = importlib.import_module("transformers")
    try:
        config = transformers.CLIPVisionConfig.from_pretrained(str(path.parent), local_files_only=True)
    except (OSError, ValueError) as error:
        line = str(error).splitlines()[0]
        raise CheckpointError(f"{path.parent}: {line}", fix="take the folder from its authors") from None
    # Built empty and filled here: from_pretrained draws at random what a file lacks.
    vision: nn.Module = transformers.CLIPVisionModelWithProjection(config)
    names = {key: key for key in vision.state_dict()}
    return ImageEmbedding(filled(vision, names, tensors_of(read_weights(path), path), path), side=config.image_size)


def _per_channel(values: tuple[float, float, float]) -> Tensor:
    return torch.tensor(values).view(1, 3, 1, 1)
