"""The importer of official weight files, with files that the test writes under the official names."""

import pathlib

import pytest
import torch

from eorestore.errors import CheckpointError
from eorestore.models.glf_cr import GLFCR, GLFCRSettings
from eorestore.models.glf_cr_weights import import_official_weights, official_name

BLOCKS, LAYERS = 2, 3
SETTINGS = GLFCRSettings(channels=8, growth=8, blocks=BLOCKS, layers=LAYERS, heads=2, window=4, head_channels=4)

LAYER_NAMES = (
    *("conv.0", "conv_SAR.0", "norm2", "norm2_SAR", "mlp.fc1", "mlp.fc2", "mlp_SAR.fc1", "mlp_SAR.fc2"),
    *("attn.qkv", "attn.qkv_SAR", "attn.proj", "attn.proj_SAR", "attn.attn_fuse_1x1conv"),
)
OFFICIAL_PAIRS = (
    ["SFENet1", "SFENet2", "SFENet1_SAR", "SFENet2_SAR", "GFF.0", "GFF.1", "UPNet.0", "UPNet.2"]
    + [f"RDBs.{i}.{name}" for i in range(BLOCKS) for name in ("LFF", "LFF_SAR")]
    + [f"RDBs.{i}.convs.{c}.{name}" for i in range(BLOCKS) for c in range(LAYERS) for name in LAYER_NAMES]
    + [
        f"DF.{i}.fac_warp.{name}"
        for i in range(BLOCKS)
        for name in ("0.0", "1.stem.0", "1.stem.2", "2.stem.0", "2.stem.2", "3.0")
    ]
    + [f"{gate}.{i}" for i in range(BLOCKS) for gate in ("sar_fuse_1x1conv", "opt_distribute_1x1conv")]
)
OFFICIAL_KEYS = {f"{name}.{kind}" for name in OFFICIAL_PAIRS for kind in ("weight", "bias")} | {
    f"RDBs.{i}.convs.{c}.attn.relative_position_bias_table" for i in range(BLOCKS) for c in range(LAYERS)
}


@pytest.fixture
def source():
    torch.manual_seed(1)
    return GLFCR(SETTINGS).eval()


@pytest.fixture
def network(source):
    tensors = {official_name(key): value.clone() for key, value in source.state_dict().items()}
    for i in range(BLOCKS):
        for c in range(LAYERS):
            tensors[f"RDBs.{i}.convs.{c}.attn.relative_position_index"] = torch.zeros(16, 16, dtype=torch.long)
        tensors[f"RDBs.{i}.convs.1.attn_mask"] = torch.zeros(64, 16, 16)
    return tensors


def write(folder, content):
    path = folder / "official.pth"
    torch.save(content, path)
    return path


def test_our_keys_translate_to_exactly_the_official_ones(source):
    assert {official_name(key) for key in source.state_dict()} == OFFICIAL_KEYS


@pytest.mark.parametrize(
    ("official", "ours"),
    [
        ("SFENet1_SAR.weight", "sar_stem.weight"),
        ("UPNet.2.bias", "head.2.bias"),
        ("RDBs.1.LFF_SAR.weight", "dense_blocks.1.sar_out.weight"),
        ("RDBs.0.convs.2.mlp_SAR.fc1.weight", "dense_blocks.0.layers.2.sar_mlp.widen.weight"),
        ("DF.1.fac_warp.2.stem.0.weight", "kernel_generators.1.3.first.weight"),
        ("DF.0.fac_warp.3.0.bias", "kernel_generators.0.4.bias"),
        ("sar_fuse_1x1conv.1.weight", "sar_gates.1.weight"),
    ],
)
def test_a_key_that_a_mistake_could_swap_has_its_place(official, ours):
    assert official_name(ours) == official


def test_an_official_file_gives_the_same_images(tmp_path, source, network):
    model = import_official_weights(write(tmp_path, {"network": network}), settings=SETTINGS)
    inputs = {"cloudy": torch.rand(1, 13, 16, 24), "sar": torch.rand(1, 2, 16, 24)}
    assert torch.equal(model(**inputs).image, source(**inputs).image)


def test_missing_and_unknown_keys_are_named(tmp_path, network):
    network["GFF.9.weight"] = network.pop("GFF.1.weight")
    with pytest.raises(CheckpointError, match=r"1 keys missing \(GFF\.1\.weight\); 1 keys unknown \(GFF\.9\.weight\)"):
        import_official_weights(write(tmp_path, {"network": network}), settings=SETTINGS)


def test_tensors_of_another_shape_are_refused(tmp_path, network):
    network["SFENet2.bias"] = torch.zeros(9)
    with pytest.raises(CheckpointError, match=r"size mismatch for optical_entry\.bias"):
        import_official_weights(write(tmp_path, {"network": network}), settings=SETTINGS)


class _Code:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (pathlib.Path.touch, (pathlib.Path(self.path),))


def test_a_file_with_code_is_refused_and_the_code_not_run(tmp_path, network):
    trace = tmp_path / "ran"
    with pytest.raises(CheckpointError, match="does not hold plain tensors"):
        import_official_weights(write(tmp_path, {"network": network, "x": _Code(str(trace))}), settings=SETTINGS)
    assert not trace.exists()


@pytest.mark.parametrize("content", [{"state": {}}, [1, 2], {"network": {"a": 3}}])
def test_a_file_without_a_network_of_tensors_is_refused(tmp_path, content):
    with pytest.raises(CheckpointError, match="no key `network`"):
        import_official_weights(write(tmp_path, content), settings=SETTINGS)


def test_text_and_absent_files_are_refused(tmp_path):
    text = tmp_path / "text.pth"
    text.write_text("no weights")
    for path, message in ((text, "plain tensors"), (tmp_path / "absent.pth", "no file")):
        with pytest.raises(CheckpointError, match=message):
            import_official_weights(path, settings=SETTINGS)
