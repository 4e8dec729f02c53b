"""Evaluation with hand-made restorers: known errors must come out as known scores."""

import json
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from scipy.stats import linregress
from skimage.metrics import peak_signal_noise_ratio

from eorestore.data.scene_arrays import load_scene, save_scene
from eorestore.data.synthetic_scene import synthetic_scene
from eorestore.errors import DataError, UnknownNameError, UsageError
from eorestore.experiments.evaluate import ORACLES, compare_with_baselines, evaluate
from eorestore.raster import Band, BandSet, Raster, Unit
from eorestore.raster.encoding import Encoding
from eorestore.raster.files import write_raster

SIZE = 72


@dataclass(frozen=True)
class Restored:
    raster: Raster
    extras: dict = field(default_factory=dict)


class FakeRestore:
    """`identity` returns the cloudy scene, `half` adds 0.05 inside the mask, `loud` adds 0.2; calls are kept.

    `honest` adds noise of 0.05 and says so in its sigma, `boastful` says half of it.
    """

    def __init__(self, answers: dict | None = None):
        self.calls = []
        self.answers = answers or {}

    def __call__(self, model, rasters, *, mask):
        self.calls.append((model, rasters, mask))
        cloudy = rasters["cloudy"]
        if model == "identity":
            return Restored(cloudy)
        where = np.ones(cloudy.grid.size, dtype=bool) if mask is None else mask
        truth = self.answers[cloudy.grid]
        if model in ("honest", "boastful"):
            noise = np.random.default_rng(0).standard_normal(truth.shape).astype(np.float32)
            sigma = np.where(where, np.float32(0.05 if model == "honest" else 0.025), 0) * np.ones_like(truth)
            values = np.where(where, truth + np.float32(0.05) * noise, cloudy.values)
            return Restored(replace(cloudy, values=values), {"sigma": sigma})
        error = np.float32({"half": 0.05, "loud": 0.2}[model])
        return Restored(replace(cloudy, values=np.where(where, truth + error, cloudy.values)))


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    lines = ["id,place,split,optical,sar,reference"]
    for number, (place, split) in enumerate([("p0", "test"), ("p0", "test"), ("p1", "test"), ("p2", "train")]):
        scene = synthetic_scene((SIZE, SIZE), generator=np.random.default_rng(number))
        clear = replace(scene.optical, values=np.clip(scene.optical.values, 0, 0.7))
        hazy = replace(clear, values=0.9 * clear.values + np.float32(0.05))
        save_scene(folder / f"{number}.npz", optical=hazy, sar=scene.sar)
        save_scene(folder / f"{number}_clear.npz", optical=clear)
        lines.append(f"s{number},{place},{split},{number}.npz,{number}.npz,{number}_clear.npz")
    (folder / "scenes.csv").write_text("\n".join(lines))
    return folder / "scenes.csv"


def answers(manifest) -> dict:
    clear = [load_scene(path).optical for path in sorted(manifest.parent.glob("*_clear.npz"))]
    return {raster.grid: raster.values for raster in clear}


def simulated(manifest, models=("half", "loud", "identity"), **options):
    restore = FakeRestore(answers(manifest))
    settings = {"simulate": (0.4,), "seeds": (1, 2), "cloud_size_px": (10, 30)} | options
    return evaluate(models, data=manifest, restore=restore, **settings), restore


def test_identity_on_real_pairs_has_the_score_of_the_pair(manifest):
    table = evaluate("identity", data=manifest, restore=FakeRestore())
    assert [row.scene for row in table.rows] == ["s0", "s1", "s2"]
    hazy, clear = (load_scene(manifest.parent / name).optical.values for name in ("1.npz", "1_clear.npz"))
    expected = peak_signal_noise_ratio(clear.astype(float), hazy.astype(float), data_range=1.0)
    assert table.rows[1].scores["psnr"] == pytest.approx(expected, abs=1e-6)
    assert (table.rows[1].cover, table.rows[1].seed) == (None, None)


def test_real_pairs_are_restored_whole_unless_a_mask_is_asked_for(manifest):
    for mask, whole in (("none", True), ("auto", False)):
        restore = FakeRestore()
        evaluate("identity", data=manifest, restore=restore, mask=mask)
        assert all((given is None) is whole for _, _, given in restore.calls)


def test_a_known_error_inside_the_clouds_comes_out_as_its_decibels(manifest):
    table, _ = simulated(manifest, models="half")
    assert len(table.rows) == 3 * 2
    for row in table.rows:
        assert row.scores["psnr_cloud"] == pytest.approx(-20 * np.log10(0.05), abs=1e-3)
        assert row.scores["mae_cloud"] == pytest.approx(0.05, abs=1e-6)
        assert row.scores["psnr_clear"] > row.scores["psnr"] > row.scores["psnr_cloud"]


def test_the_share_of_cloud_is_near_the_cover(manifest):
    table, _ = simulated(manifest, models="half", simulate=(0.2, 0.6))
    for row in table.rows:
        assert row.cloud_share == pytest.approx(row.cover, abs=0.05)


def test_every_model_sees_the_very_same_clouds(manifest):
    _, restore = simulated(manifest)
    assert len(restore.calls) == 3 * 2 * 3
    for start in range(0, len(restore.calls), 3):
        first, *others = restore.calls[start : start + 3]
        for call in others:
            assert np.array_equal(call[1]["cloudy"].values, first[1]["cloudy"].values)
            assert np.array_equal(call[2], first[2])


def test_clouds_depend_on_scene_seed_and_cover_and_on_nothing_else(manifest):
    _, alone = simulated(manifest, models="half", seeds=(2,))
    _, among = simulated(manifest, models="half", seeds=(1, 2, 3), simulate=(0.2, 0.4))
    skies = {call[1]["cloudy"].values.tobytes() for call in among.calls}
    assert len(skies) == len(among.calls)
    assert all(call[1]["cloudy"].values.tobytes() in skies for call in alone.calls)


def test_clouds_are_simulated_over_the_reference_where_there_is_one(manifest):
    _, restore = simulated(manifest, models="half", seeds=(1,))
    for _, rasters, mask in restore.calls:
        truth = answers(manifest)[rasters["cloudy"].grid]
        outside = np.abs(rasters["cloudy"].values - truth)[:, ~mask]
        assert np.median(outside) < 1e-6


def test_the_comparison_names_the_best_baseline_and_pairs_every_scene_and_seed(manifest):
    table, _ = simulated(manifest)
    (comparison,) = table.compare("half", ["loud", "identity"])
    assert comparison.means["half"] - comparison.means[comparison.best] == pytest.approx(comparison.difference)
    assert comparison.best == max(("loud", "identity"), key=lambda name: comparison.means[name])
    assert len(comparison.pairs) == 6
    for pair in comparison.pairs:
        assert pair["difference"] == pytest.approx(pair["model"] - pair["best"])
    (lower,) = table.compare("half", ["loud", "identity"], score="mae_cloud")
    assert lower.difference > 0


def test_the_comparison_weighs_places_not_scenes(manifest):
    table, _ = simulated(manifest, models=("half", "identity"))
    (comparison,) = table.compare("half", ["identity"])
    by_place = {
        place: np.mean([r.scores["psnr_cloud"] for r in table.rows if (r.place, r.model) == (place, "identity")])
        for place in ("p0", "p1")
    }
    assert comparison.means["identity"] == pytest.approx(np.mean(list(by_place.values())))


def test_the_crop_is_cut_from_the_centre_before_restoring(manifest):
    restore = FakeRestore()
    table = evaluate("identity", data=manifest, restore=restore, crop=32)
    rasters = restore.calls[0][1]
    whole = load_scene(manifest.parent / "0.npz")
    assert np.array_equal(rasters["cloudy"].values, whole.optical.values[:, 20:52, 20:52])
    assert np.array_equal(rasters["sar"].values, whole.sar.values[:, 20:52, 20:52])
    assert "centre 32 x 32" in table.conditions["Crop"]


def test_oracles_are_marked_and_know_the_answer(manifest):
    table = evaluate("identity", data=manifest, restore=FakeRestore(), oracles=True)
    means, affine = (next(row for row in table.rows if row.model == name and row.scene == "s0") for name in ORACLES)
    assert means.oracle
    assert affine.oracle
    assert affine.scores["psnr"] > 100  # the haze of these scenes is an affine map
    clear = load_scene(manifest.parent / "0_clear.npz").optical.values
    assert means.scores["rmse"] == pytest.approx(np.sqrt(clear.var(axis=(1, 2)).mean()), rel=1e-4)
    assert f"{ORACLES[0]} (oracle)" in table.to_markdown()


def test_the_affine_oracle_is_the_regression_of_each_band(manifest):
    table, restore = simulated(manifest, models="identity", seeds=(1,), oracles=True)
    row = next(row for row in table.rows if row.model == ORACLES[1] and row.scene == "s2")
    cloudy = restore.calls[2][1]["cloudy"].values
    target = answers(manifest)[restore.calls[2][1]["cloudy"].grid]
    fits = [linregress(x.ravel(), y.ravel()) for x, y in zip(cloudy, target, strict=True)]
    image = np.stack([fit.slope * x + fit.intercept for fit, x in zip(fits, cloudy, strict=True)])
    assert row.scores["mae"] == pytest.approx(np.abs(image - target).mean(), rel=1e-3)


def test_the_sen12ms_cr_protocol_pads_with_zeros_and_says_so(manifest):
    table = evaluate("identity", data=manifest, restore=FakeRestore(), protocol="sen12ms-cr")
    assert "ssim_paper" in table.rows[0].scores
    assert "zero-padded" in table.to_markdown()


def test_every_table_states_crop_clamp_and_mask(manifest):
    for table in (simulated(manifest, models="half")[0], evaluate("identity", data=manifest, restore=FakeRestore())):
        text = table.to_markdown()
        assert all(f"{name}: " in text for name in ("Crop", "Clamp", "Mask", "Regions", "SSIM"))


def test_the_markdown_shows_mean_spread_and_count(manifest):
    table, _ = simulated(manifest, models=("half", "identity"), metrics=("psnr",))
    lines = table.to_markdown().splitlines()
    found = table.aggregates("identity", cover=0.4)["psnr_cloud"]
    assert f"| 40 % | identity | cloud | {found.mean:.2f} ± {found.std:.2f} | 6 |" in lines
    assert sum(line.startswith("| s") for line in lines) == 1 + 3 * 2


def test_the_json_is_strict_json(manifest):
    table, _ = simulated(manifest, models="identity", seeds=(1,))
    plain = json.loads(json.dumps(table.to_json(), allow_nan=False))
    assert plain["rows"][0]["scores"]["psnr"] == table.rows[0].scores["psnr"]
    assert plain["aggregates"][0]["scores"]["psnr"]["count"] == 3


def test_an_exact_restoration_is_infinite_decibels_in_words(manifest):
    restore = FakeRestore()
    clear = {grid: Restored(load_scene(p).optical) for p in manifest.parent.glob("*_clear.npz")
             for grid in [load_scene(p).optical.grid]}  # fmt: skip
    table = evaluate("exact", data=manifest, restore=lambda _m, rasters, mask: clear[rasters["cloudy"].grid])  # noqa: ARG005
    assert table.to_json()["rows"][0]["scores"]["psnr"] == "inf"
    assert "| exact | all | inf |" in table.to_markdown()
    assert restore.calls == []


def test_the_split_chooses_the_scenes(manifest):
    table = evaluate("identity", data=manifest, restore=FakeRestore(), split="train")
    assert [row.scene for row in table.rows] == ["s3"]


def test_a_scene_without_reference_needs_simulated_clouds(manifest, tmp_path):
    plain = tmp_path / "scenes.csv"
    plain.write_text("id,place,split,optical,sar\ns0,p0,test,0.npz,0.npz\n")
    with pytest.raises(DataError, match="s0 has no reference"):
        evaluate("identity", data=plain, root=manifest.parent, restore=FakeRestore())
    table = evaluate(
        "identity", data=plain, root=manifest.parent, restore=FakeRestore(), simulate=(0.3,), cloud_size_px=(10, 30)
    )
    assert len(table.rows) == 1


def test_values_that_are_not_finite_are_an_error_not_a_score(manifest):
    def broken(_model, rasters, *, mask):  # noqa: ARG001
        return Restored(replace(rasters["cloudy"], values=rasters["cloudy"].values * np.float32(np.nan)))

    with pytest.raises(DataError, match="broken gave values that are not finite on s0"):
        evaluate("broken", data=manifest, restore=broken)


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"protocol": "sen12mscr"}, UnknownNameError, "protocol"),
        ({"metrics": ("psrn",)}, UnknownNameError, "metric"),
        ({"split": "tset"}, UnknownNameError, "split"),
        ({"simulate": ()}, UsageError, "no cover or no seed"),
        ({"simulate": (0.2,), "seeds": ()}, UsageError, "no cover or no seed"),
        ({"simulate": (40,)}, UsageError, "no share"),
        ({"metrics": ()}, UsageError, "no model or no metric"),
        ({"crop": 100}, DataError, "a crop of 100 does not fit"),
        ({"strata": ("clouds",)}, UnknownNameError, "stratum"),
        ({"strata": ("thickness",)}, UsageError, "how thick real clouds are"),
        ({"strata": ("landcover",)}, DataError, "no scene has a map"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused(manifest, options, kind, message):
    with pytest.raises(kind, match=message):
        evaluate("identity", data=manifest, restore=FakeRestore(), **options)


def write_classes(path, values, grid):
    bands = BandSet((Band("class", Unit.CLASS),))
    write_raster(path, Raster(values[None].astype(np.float32), np.ones(grid.size, bool), bands, grid),
                 encoding=Encoding("uint8"))  # fmt: skip


@pytest.fixture(scope="module")
def mapped(manifest):
    """The test scenes with a mask of their upper third and a map of two classes, left and right."""
    folder = manifest.parent
    lines = ["id,place,split,optical,sar,reference,mask,landcover"]
    for number in range(3):
        grid = load_scene(folder / f"{number}.npz").optical.grid
        upper, right = np.zeros((2, SIZE, SIZE), np.uint8)
        upper[: SIZE // 3], right[:, SIZE // 2 :] = 7, 1
        write_classes(folder / f"{number}_mask.tif", upper, grid)
        write_classes(folder / f"{number}_map.tif", right, grid)
        files = f"{number}.npz,{number}.npz,{number}_clear.npz,{number}_mask.tif:7,{number}_map.tif"
        lines.append(f"s{number},p{number},test,{files}")
    (folder / "mapped.csv").write_text("\n".join(lines))
    return folder / "mapped.csv"


def test_the_mask_of_the_manifest_is_restored_and_is_the_region_cloud(mapped):
    restore = FakeRestore(answers(mapped))
    table = evaluate(["half", "identity"], data=mapped, restore=restore)
    upper = np.zeros((SIZE, SIZE), bool)
    upper[: SIZE // 3] = True
    assert all(np.array_equal(given, upper) for _, _, given in restore.calls)
    assert [row.cloud_share for row in table.rows] == pytest.approx([1 / 3] * 6)
    assert table.rows[0].scores["mae_cloud"] == pytest.approx(0.05, abs=1e-6)
    assert table.rows[0].scores["mae_clear"] == table.rows[1].scores["mae_clear"]
    assert "Mask: the manifest's; other pixels stay as observed." in table.to_markdown()
    assert "Regions: the manifest's mask." in table.to_markdown()


def test_the_masks_of_the_manifest_can_be_set_aside(mapped):
    restore = FakeRestore()
    table = evaluate("identity", data=mapped, restore=restore, mask="none")
    assert all(given is None for _, _, given in restore.calls)
    assert table.rows[0].cloud_share == pytest.approx(1 / 3)
    evaluate("identity", data=mapped, restore=restore, mask="auto")
    assert not any(given[: SIZE // 3].all() for _, _, given in restore.calls[3:])


def test_strata_share_the_pixels_under_cloud_among_them(mapped):
    kinds = ("cloud", "thickness", "distance", "landcover")
    restore = FakeRestore(answers(mapped))
    table = evaluate(
        ["half", "identity"], data=mapped, restore=restore, simulate=(0.2, 0.6), cloud_size_px=(10, 30), strata=kinds
    )
    for row in table.rows:
        case = [
            part for part in table.strata if (part.scene, part.cover, part.model) == (row.scene, row.cover, row.model)
        ]
        pixels = {kind: sum(part.pixels for part in case if part.kind == kind) for kind in kinds}
        assert set(pixels.values()) == {round(row.cloud_share * SIZE**2)}
    known = [part for part in table.strata if part.model == "half" and part.pixels >= 50]
    assert all(part.scores["mae"] == pytest.approx(0.05, abs=1e-6) for part in known)
    assert {part.name for part in table.strata if part.kind == "landcover"} == {"class 0", "class 1"}


def test_strata_stand_in_the_record_and_in_the_markdown(mapped):
    restore = FakeRestore(answers(mapped))
    table = evaluate("half", data=mapped, restore=restore, simulate=(0.4,), cloud_size_px=(10, 30), strata=("texture",))
    rows = json.loads(json.dumps(table.to_json(), allow_nan=False))["strata"]
    assert {row["name"] for row in rows} == {"textured", "smooth"}
    assert rows[0]["scores"]["psnr"] == pytest.approx(-20 * np.log10(0.05), abs=1e-3)
    # A constant error leaves every gradient as it is.
    assert rows[0]["scores"]["gradient_correlation"] == pytest.approx(1, abs=1e-4)
    assert "| textured | half | 26.02 |" in table.to_markdown()


def test_an_honest_sigma_covers_nine_tenths_and_a_boastful_one_less(manifest):
    table, _ = simulated(manifest, models=("honest", "boastful", "half"))
    means = {name: table.aggregates(name, cover=0.4)["coverage_90_cloud"].mean for name in table.models}
    assert means["honest"] == pytest.approx(0.9, abs=0.01)
    assert means["boastful"] == pytest.approx(0.589, abs=0.01)  # 2 Phi(1.645 / 2) - 1
    assert np.isnan(means["half"])
    width = table.aggregates("honest", cover=0.4)["interval_width_cloud"].mean
    assert width == pytest.approx(2 * 1.6449 * 0.05, rel=1e-3)
    assert table.rows[0].by_band["coverage_90"]["B04"] == pytest.approx(0.9, abs=0.05)
    text = table.to_markdown()
    assert "| honest | B01 |" not in text
    assert "Coverage of the 90 % interval by band inside cloud" in text


def test_a_tint_is_told_band_by_band(manifest):
    table, _ = simulated(manifest, models=("half",))
    row = table.rows[0]
    assert row.by_band["bias"] == pytest.approx(dict.fromkeys(row.by_band["bias"], 0.05), abs=1e-4)
    assert row.scores["bias_cloud"] == pytest.approx(0.05, abs=1e-4)
    assert row.scores["ndvi_cloud"] > 0.01


def test_the_watcher_sees_every_case_with_its_row(manifest):
    seen = []
    restore = FakeRestore(answers(manifest))
    table = evaluate(
        ["half", "identity"], data=manifest, restore=restore, simulate=(0.4,), cloud_size_px=(10, 30), oracles=True,
        watch=lambda case, row, restored: seen.append((case.row.id, row, restored.raster.grid)),
    )  # fmt: skip
    assert [row for _, row, _ in seen] == [row for row in table.rows if not row.oracle]
    assert all(scene == row.scene for scene, row, _ in seen)


@pytest.mark.real
@pytest.mark.parametrize(("crop", "expected"), [(None, (20.401, 0.729, 21.39)), (128, (19.44, 0.710, 21.7))])
def test_identity_on_winter_112_through_the_manifest_has_the_published_protocols_scores(
    real_data, tmp_path, crop, expected
):
    # Source: SEN12MS-CR sample ROIs2017_winter_112_p797, scored by the definitions of GLF-CR (Xu et al. 2022).
    folder = "cloud/sen12mscr/ROIs2017_winter_112_p797"
    manifest = tmp_path / "real.csv"
    manifest.write_text(
        "id,place,split,optical,sar,reference\n"
        f"winter_112,winter_112,test,{folder}/s2_cloudy.tif,{folder}/s1.tif,{folder}/s2_cloudfree.tif\n"
    )
    table = evaluate(
        "identity", data=manifest, root=real_data, crop=crop, protocol="sen12ms-cr", restore=FakeRestore(), oracles=True
    )
    scores = table.rows[0].scores
    assert scores["psnr"] == pytest.approx(expected[0], abs=0.005)
    assert scores["ssim_paper"] == pytest.approx(expected[1], abs=0.0006)
    assert scores["sam"] == pytest.approx(expected[2], abs=0.03)
    if crop == 128:  # the oracles of the same source
        means, affine = table.rows[1].scores, table.rows[2].scores
        assert (round(means["psnr"], 2), round(means["ssim_paper"], 3), round(means["sam"], 1)) == (28.31, 0.860, 5.9)
        assert (round(affine["psnr"], 2), round(affine["ssim_paper"], 3), round(affine["sam"], 1)) == (
            35.86,
            0.965,
            2.6,
        )


def test_models_are_compared_with_the_baselines_that_were_scored_and_oracles_are_not(manifest):
    table, _ = simulated(manifest, oracles=True)
    found = compare_with_baselines(table, ("loud", "identity", "never scored"))
    assert [(item.model, item.score) for item in found] == [("half", "psnr_cloud")]
    assert set(found[0].means) == {"half", "loud", "identity"}
    assert compare_with_baselines(table, ("never scored",)) == ()
    real = evaluate(("identity", "other"), data=manifest, restore=lambda _m, rasters, **_: Restored(rasters["cloudy"]))
    assert compare_with_baselines(real, ("identity",))[0].score == "psnr"


@pytest.mark.real
def test_the_land_cover_of_a_real_place_divides_its_clouds(real_data, tmp_path):
    folder = "cloud/terramind/38D_378R_2_3"
    path = tmp_path / "real.csv"
    path.write_text(
        "id,place,split,optical,sar,s2_offset,sar_unit,landcover\n"
        f"38D,38D,test,{folder}/S2L1C.tif,{folder}/S1RTC.tif,0,decibel,{folder}/LULC.tif\n"
    )
    table = evaluate(
        "identity", data=path, root=real_data, restore=FakeRestore(), simulate=(0.4,), metrics=("mae",),
        strata=("landcover",),
    )  # fmt: skip
    found = {part.name: part.pixels for part in table.strata}
    assert set(found) == {"class 4", "class 9"}
    assert sum(found.values()) == round(table.rows[0].cloud_share * 224 * 224)
