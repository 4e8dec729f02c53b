"""Recipes of zero-shot enlargement: automatic numbers, overrides, shipped presets, what they are refused for."""

from __future__ import annotations

import json

import pytest

from eorestore.config import parse_settings
from eorestore.errors import ConfigError, UnknownNameError, UsageError
from eorestore.restorer.zero_shot import begin, stages
from eorestore.restorer.zero_shot_recipe import SceneTask, ZeroShotRecipe, load_recipe, recipe_names

AUTOMATIC = {
    2: (15_000, 64, 128),
    3: (15_000, 64, 128),
    4: (15_000, 64, 128),
    8: (20_000, 48, 96),
    16: (25_000, 32, 64),
}


@pytest.mark.parametrize(("scale", "numbers"), AUTOMATIC.items())
def test_the_automatic_numbers_are_those_of_the_plan(scale, numbers):
    settled = load_recipe("plan").settled(scale, (400, 300))
    assert (settled.learning.steps, settled.learning.crop, settled.inference.patch) == numbers


def test_a_crop_is_at_most_half_of_the_shorter_side():
    recipe = load_recipe("plan")
    assert recipe.settled(4, (100, 81)).learning.crop == 40
    assert recipe.settled(16, (1, 1)).learning.crop == 1
    assert load_recipe("balanced").settled(2, (60, 400)).learning.crop == 30


def test_numbers_that_were_given_stay_and_the_recipe_itself_does_too():
    recipe = load_recipe("balanced", ["steps=7", "patch=50", "crop=20"])
    settled = recipe.settled(8, (200, 200))
    assert (settled.learning.steps, settled.learning.crop, settled.inference.patch) == (7, 20, 50)
    assert load_recipe("balanced", ["steps=0"]).settled(8, (200, 200)).learning.steps == 0
    assert recipe == load_recipe("balanced", ["steps=7", "patch=50", "crop=20"])


@pytest.mark.parametrize("scale", [1, 5, 6, 32])
def test_a_scale_that_is_not_offered_is_refused_with_those_that_are(scale):
    with pytest.raises(UsageError, match=str(scale)) as caught:
        SceneTask(load_recipe("balanced"), scale).settled((100, 100))
    assert "2, 3, 4, 8, 16" in caught.value.fix


@pytest.mark.parametrize("name", recipe_names())
def test_every_shipped_recipe_can_be_carried_out_at_every_scale(name):
    recipe = load_recipe(name)
    assert recipe.name == name
    for scale in AUTOMATIC:
        task = SceneTask(recipe, scale).settled((120, 90))
        assert stages(task).factor == scale
        assert json.loads(json.dumps(task.to_json())) == task.to_json()
    assert parse_settings(ZeroShotRecipe, recipe.to_dict(), source="test") == recipe


def test_the_recipe_of_the_plan_has_the_network_of_the_plan():
    network, sha256 = begin(SceneTask(load_recipe("plan"), 4).settled((120, 90)))
    assert sum(weight.numel() for weight in network.parameters()) == 937_609
    assert sha256 is None


def test_the_four_recipes_are_shipped():
    assert recipe_names() == ("balanced", "fast", "plan", "quality")


@pytest.mark.parametrize("prefix", ["", "learning."])
def test_a_key_may_stand_without_its_group(prefix):
    assert load_recipe("fast", [f"{prefix}learning_rate=1e-3"]).learning.learning_rate == 1e-3


def test_every_group_and_the_seed_can_be_overridden():
    given = [
        "start=none",
        "settings.channels=8",
        "ensemble=median",
        "inference.margin=-1",
        "seed=4",
        "kelvin=[250, 310]",
    ]
    recipe = load_recipe("balanced", given)
    assert (recipe.network.start, recipe.network.settings) == ("none", {"channels": 8})
    assert (recipe.inference.ensemble, recipe.inference.margin, recipe.seed) == ("median", -1.0, 4)
    assert recipe.inference.kelvin == (250.0, 310.0)
    assert load_recipe("balanced", {"steps": 3}).learning.steps == 3


def test_a_misspelt_key_is_met_with_the_nearest_one():
    with pytest.raises(ConfigError) as caught:
        load_recipe("balanced", ["learning.stepz=3"])
    assert "steps" in f"{caught.value.message} {caught.value.fix}"


def test_a_misspelt_recipe_is_met_with_the_nearest_one():
    with pytest.raises(UnknownNameError) as caught:
        load_recipe("balancd")
    assert caught.value.suggestion == "balanced"


def test_a_recipe_may_be_a_file(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("name: mine\nlearning: {steps: 12}\n")
    assert load_recipe(str(path)).learning.steps == 12
    with pytest.raises(UsageError, match=r"other\.yaml"):
        load_recipe(str(tmp_path / "other.yaml"))
    path.write_text("- a list\n")
    with pytest.raises(UsageError):
        load_recipe(str(path))


@pytest.mark.parametrize(
    "wrong",
    ["steps=-2", "crop=-1", "batch=0", "learning_rate=0", "held_back=1.5", "overlap=0.7", "margin=2", "least_scale=0",
     "ensemble=sum", "kelvin=[320, 200]", "degradation=blur", "normalize=none"],
)  # fmt: skip
def test_a_value_out_of_range_is_refused(wrong):
    with pytest.raises(ConfigError):
        load_recipe("balanced", [wrong])


def test_settings_of_the_network_that_it_does_not_have_are_refused():
    task = SceneTask(load_recipe("balanced", ["start=none", "settings.chanels=8"]), 2).settled((64, 64))
    with pytest.raises(ConfigError, match="chanels"):
        begin(task)
