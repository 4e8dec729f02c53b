"""A study of one short training, restored anew: the pictures come from its checkpoint and its scenes."""

import numpy as np
import pytest

from eorestore.experiments.ablation import ablate
from eorestore.reports.sources import read_sources
from eorestore.reports.version_pictures import version_sections
from small_study import small_study, small_study_values, write_places


@pytest.fixture(scope="module")
def sections(tmp_path_factory):
    folder = tmp_path_factory.mktemp("versions")
    values = small_study_values() | {"learning_rates": [1e-3], "seeds": {"main": 1, "cell": 1}, "reference": "v3"}
    edges = {"model.settings.texture": True}
    values["rows"] = [
        {"name": "inpaint", "baseline": "inpaint"},
        {"name": "v3", "main": True, "overrides": edges},
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_places(folder)
        ablate(small_study(folder, values), out=folder / "out")
        return version_sections(read_sources([folder / "out"]).studies[0], scenes=1)


def test_every_scene_has_its_versions_and_their_maps(sections) -> None:
    assert [section.slug for section in sections] == [
        "small-versions-on-scene-1", "small-versions-on-scene-1-maps",
    ]  # fmt: skip
    for section in sections:
        assert section.note.startswith("scene1 under 30 % simulated cloud, seed 0; first training seed.")
        assert "Commit " in section.note


def test_cloudy_sar_both_rows_and_the_target_are_shown(sections) -> None:
    from matplotlib.image import imread

    images, maps = (imread(_stream(section.figure.png)) for section in sections)
    # Five tiles as wide as a page, and one map of a fifth of it.
    assert images.shape[1] == pytest.approx(5 * maps.shape[1], rel=0.01)
    tiles = np.array_split(images[40:-10, :, :3], 5, axis=1)
    assert all(tile[:, 30:-30].std() > 0.02 for tile in tiles)
    assert np.ptp(maps[40:-10, 30:-30, :3], axis=-1).max() == 0  # grey


def _stream(data: bytes):
    import io

    return io.BytesIO(data)
