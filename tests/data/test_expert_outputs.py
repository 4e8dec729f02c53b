import numpy as np
import pytest

from eorestore.data.expert_outputs import find_expert_outputs
from eorestore.data.image_pairs import find_pairs
from eorestore.errors import DataError, UnknownNameError
from eorestore.processing.table import rgb_processor
from small_images import picture, put, write_experts, write_set

SIZE = (72, 88)


@pytest.fixture
def world(tmp_path):
    images = write_set(tmp_path / "Five", 2)
    write_experts(tmp_path / "outputs" / "Five", images, noise={"strong": 1, "Weak": 9})
    return tmp_path / "outputs", find_pairs(images, scale=4)


def test_images_of_experts_are_found_by_the_name_of_the_set_and_of_the_image(world):
    folder, pairs = world
    for found in (find_expert_outputs(folder, set_name="five"), find_expert_outputs(folder / "Five")):
        assert found.names == ("Weak", "strong")
        images = found.read(pairs[1], rgb_processor(4), size=SIZE)
        assert images.shape == (2, 3, *SIZE)
        truth = picture(1).transpose(2, 0, 1) / 255
        errors = np.abs(images - truth).mean(axis=(1, 2, 3)) * 255
        assert errors[0] > 5 * errors[1] > 0


def test_the_order_of_experts_can_be_asked_for(world):
    folder, pairs = world
    by_name = find_expert_outputs(folder, set_name="Five")
    turned = find_expert_outputs(folder, set_name="Five", names=["strong", "Weak"])
    images = [found.read(pairs[0], rgb_processor(4), size=SIZE) for found in (by_name, turned)]
    assert np.array_equal(images[0], images[1][::-1])
    with pytest.raises(UnknownNameError, match="stronk"):
        find_expert_outputs(folder, set_name="Five", names=["stronk"])


def test_what_is_missing_or_of_another_size_is_named(world):
    folder, pairs = world
    found = find_expert_outputs(folder, set_name="Five")
    with pytest.raises(DataError, match="72 x 88 pixels, not 72 x 84"):
        found.read(pairs[0], rgb_processor(4), size=(72, 84))
    (folder / "Five" / "Weak" / "b.png").unlink()
    with pytest.raises(DataError, match=r"Weak has no image of .*b_HR\.png"):
        find_expert_outputs(folder, set_name="Five").read(pairs[1], rgb_processor(4), size=SIZE)
    put(folder / "Five" / "Weak" / "a_SR.png", picture(0))
    with pytest.raises(DataError, match="are both images of"):
        find_expert_outputs(folder, set_name="Five").read(pairs[0], rgb_processor(4), size=SIZE)
    put(folder / "Five" / "Weak" / "a.webp", picture(0))
    with pytest.raises(DataError, match="of one image"):
        find_expert_outputs(folder, set_name="Five")
    with pytest.raises(DataError, match="no folder at"):
        find_expert_outputs(folder / "nowhere")
