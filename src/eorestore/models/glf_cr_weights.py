"""Official GLF-CR weight files, which the user supplies, into our model."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from eorestore.errors import CheckpointError
from eorestore.models.glf_cr import GLFCR, GLFCRSettings
from eorestore.models.weight_files import read_weights

_NAMES: tuple[tuple[str, str], ...] = (
    # (a pattern of our keys, the official key): compared over the whole key without `.weight` or `.bias`
    (r"optical_stem", r"SFENet1"),
    (r"optical_entry", r"SFENet2"),
    (r"sar_stem", r"SFENet1_SAR"),
    (r"sar_entry", r"SFENet2_SAR"),
    (r"join\.(\d+)", r"GFF.\1"),
    (r"head\.(\d+)", r"UPNet.\1"),
    (r"sar_gates\.(\d+)", r"sar_fuse_1x1conv.\1"),
    (r"optical_gates\.(\d+)", r"opt_distribute_1x1conv.\1"),
    (r"kernel_generators\.(\d+)\.0", r"DF.\1.fac_warp.0.0"),
    (r"kernel_generators\.(\d+)\.2\.first", r"DF.\1.fac_warp.1.stem.0"),
    (r"kernel_generators\.(\d+)\.2\.second", r"DF.\1.fac_warp.1.stem.2"),
    (r"kernel_generators\.(\d+)\.3\.first", r"DF.\1.fac_warp.2.stem.0"),
    (r"kernel_generators\.(\d+)\.3\.second", r"DF.\1.fac_warp.2.stem.2"),
    (r"kernel_generators\.(\d+)\.4", r"DF.\1.fac_warp.3.0"),
    (r"dense_blocks\.(\d+)\.optical_out", r"RDBs.\1.LFF"),
    (r"dense_blocks\.(\d+)\.sar_out", r"RDBs.\1.LFF_SAR"),
    (r"dense_blocks\.(\d+)\.layers\.(\d+)\.optical_conv", r"RDBs.\1.convs.\2.conv.0"),
    (r"dense_blocks\.(\d+)\.layers\.(\d+)\.sar_conv", r"RDBs.\1.convs.\2.conv_SAR.0"),
    (r"dense_blocks\.(\d+)\.layers\.(\d+)\.optical_norm", r"RDBs.\1.convs.\2.norm2"),
    (r"dense_blocks\.(\d+)\.layers\.(\d+)\.sar_norm", r"RDBs.\1.convs.\2.norm2_SAR"),
    (r"dense_blocks\.(\d+)\.layers\.(\d+)\.optical_mlp\.widen", r"RDBs.\1.convs.\2.mlp.fc1"),
    (r"dense_blocks\.(\d+)\.layers\.(\d+)\.optical_mlp\.narrow", r"RDBs.\1.convs.\2.mlp.fc2"),
    (r"dense_blocks\.(\d+)\.layers\.(\d+)\.sar_mlp\.widen", r"RDBs.\1.convs.\2.mlp_SAR.fc1"),
    (r"dense_blocks\.(\d+)\.layers\.(\d+)\.sar_mlp\.narrow", r"RDBs.\1.convs.\2.mlp_SAR.fc2"),
    (r"dense_blocks\.(\d+)\.layers\.(\d+)\.attention\.qkv_optical", r"RDBs.\1.convs.\2.attn.qkv"),
    (r"dense_blocks\.(\d+)\.layers\.(\d+)\.attention\.qkv_sar", r"RDBs.\1.convs.\2.attn.qkv_SAR"),
    (r"dense_blocks\.(\d+)\.layers\.(\d+)\.attention\.project_optical", r"RDBs.\1.convs.\2.attn.proj"),
    (r"dense_blocks\.(\d+)\.layers\.(\d+)\.attention\.project_sar", r"RDBs.\1.convs.\2.attn.proj_SAR"),
    (r"dense_blocks\.(\d+)\.layers\.(\d+)\.attention\.gate", r"RDBs.\1.convs.\2.attn.attn_fuse_1x1conv"),
    (
        r"dense_blocks\.(\d+)\.layers\.(\d+)\.attention\.position_bias",
        r"RDBs.\1.convs.\2.attn.relative_position_bias_table",
    ),
)
# Both are functions of the input's size: saved for one crop in the official files, computed on the fly here.
_DROPPED = ("attn_mask", "relative_position_index")


def import_official_weights(path: Path | str, *, settings: GLFCRSettings | None = None) -> GLFCR:
    """GLF-CR with the weights of an official file, in eval mode.

    The buffers `attn_mask` and `relative_position_index` are left out; all else must match, name by name.

    Args:
        path: a .pth file: a dict with the key `network`.
        settings: for a file of another width or depth; the published network by default.

    Raises:
        CheckpointError: no such file, a file with code in it, keys missing or unknown, tensors of other shapes.
    """
    path = Path(path)
    model = GLFCR(settings or GLFCRSettings())
    found = {key: value for key, value in _read(path).items() if key.split(".")[-1] not in _DROPPED}
    ours = {official_name(key): key for key in model.state_dict()}
    missing, unknown = sorted(ours.keys() - found.keys()), sorted(found.keys() - ours.keys())
    if missing or unknown:
        raise CheckpointError(
            f"{path}: {_listed('missing', missing)}; {_listed('unknown', unknown)}",
            fix="take an official GLF-CR file, or give the settings that it was trained with",
        )
    try:
        model.load_state_dict({ours[key]: value for key, value in found.items()})
    except RuntimeError as error:
        line = " ".join(str(error).split())
        raise CheckpointError(f"{path}: {line}", fix="give the settings that it was trained with") from None
    return model.eval()


def official_name(key: str) -> str:
    """The official name of one key of our state dict. Raises KeyError."""
    stem, dot, last = key.rpartition(".")
    if last not in ("weight", "bias"):
        stem, dot, last = key, "", ""
    for pattern, official in _NAMES:
        match = re.fullmatch(pattern, stem)
        if match:
            return match.expand(official) + dot + last
    raise KeyError(key)


def _read(path: Path) -> Mapping[str, Tensor]:
    content = read_weights(path)
    network = content.get("network") if isinstance(content, dict) else None
    if not isinstance(network, dict) or not all(isinstance(value, Tensor) for value in network.values()):
        raise CheckpointError(f"{path} has no key `network` with tensors", fix="take an official GLF-CR file")
    return network


def _listed(what: str, keys: list[str]) -> str:
    more = f" and {len(keys) - 5} more" if len(keys) > 5 else ""
    return f"{len(keys)} keys {what}" + (f" ({', '.join(keys[:5])}{more})" if keys else "")
