"""The NTIRE perceptual score: published sums, and what is left out where weights are missing."""

import dataclasses
import importlib
import sys
from types import ModuleType

import pytest
import torch

from eorestore.metrics import perceptual
from eorestore.metrics.perceptual import PerceptualTerms, absent, ntire_score, perceptual_terms

ENTRY_2026 = PerceptualTerms(lpips=0.2278, dists=0.1236, clipiqa=0.5089, maniqa=0.3588, musiq=59.67, niqe=5.3596)
SNUCV_2025 = PerceptualTerms(lpips=0.2113, dists=0.1082, clipiqa=0.7543, maniqa=0.4939, musiq=71.5, niqe=2.96)


@pytest.fixture
def pyiqa(monkeypatch, tmp_path):
    """A stand-in for the package: distances are mean differences, qualities the mean of the image."""
    made: list[str] = []

    def create_metric(name, device):
        made.append(name)

        def metric(restored, target=None):
            assert restored.device == device
            return restored.mean() if target is None else (restored - target).abs().mean()

        return metric

    module = ModuleType("pyiqa")
    module.create_metric = create_metric
    module.__spec__ = importlib.machinery.ModuleSpec("pyiqa", None)
    monkeypatch.setitem(sys.modules, "pyiqa", module)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hf"))
    module.made = made
    return module


def put_files(folder, *terms):
    for term in terms:
        source = perceptual._SOURCES[term]
        for path in (*(f"hub/{file}" for file in source.files), *(f"hf/{name}" for name in source.hugging_face)):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).touch()


@pytest.mark.parametrize(("terms", "published"), [(ENTRY_2026, 3.5771), (SNUCV_2025, 4.3472)])
def test_the_score_of_published_terms_is_the_published_one(terms, published):
    assert ntire_score(terms) == pytest.approx(published, abs=0.002)


def test_the_score_of_the_entry_of_2026_to_the_last_digit():
    assert ntire_score(ENTRY_2026) == pytest.approx(3.5770, abs=0.0005)


def test_a_niqe_above_ten_adds_nothing_and_takes_nothing_away():
    scores = [ntire_score(dataclasses.replace(ENTRY_2026, niqe=niqe)) for niqe in (10.0, 14.0)]
    assert scores[0] == scores[1] == pytest.approx(3.5770 - 0.46404, abs=0.0005)


@pytest.mark.parametrize("term", [item.name for item in dataclasses.fields(PerceptualTerms)])
def test_without_one_term_there_is_no_score(term):
    assert ntire_score(dataclasses.replace(ENTRY_2026, **{term: None})) is None


def test_better_terms_give_a_better_score():
    better = {"lpips": -1, "dists": -1, "clipiqa": 1, "maniqa": 1, "musiq": 1, "niqe": -1}
    for term, sign in better.items():
        changed = dataclasses.replace(ENTRY_2026, **{term: getattr(ENTRY_2026, term) + 0.1 * sign})
        assert ntire_score(changed) > ntire_score(ENTRY_2026)


def test_without_pyiqa_every_term_is_none_and_says_why(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyiqa", None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    image = torch.rand(3, 16, 16)
    assert perceptual_terms([(image, image)]) == PerceptualTerms()
    assert absent("niqe") == "pyiqa is not installed"


def test_only_terms_whose_files_are_here_are_made(pyiqa, tmp_path):
    put_files(tmp_path, "lpips", "niqe")
    image = torch.full((3, 8, 8), 0.25)
    terms = perceptual_terms([(image, image + 0.5), (image + 0.2, image + 0.2)])
    assert sorted(pyiqa.made) == ["lpips", "niqe"]
    assert terms.lpips == pytest.approx(0.25, abs=0.002)
    assert terms.niqe == pytest.approx(0.35, abs=0.002)
    assert (terms.dists, terms.clipiqa, terms.maniqa, terms.musiq) == (None, None, None, None)
    assert ntire_score(terms) is None
    assert "DISTS_weights-f5e65c96.pth" in absent("dists")


def test_one_file_of_two_is_not_enough(pyiqa, tmp_path):
    put_files(tmp_path, "maniqa")
    assert absent("maniqa") is None
    (tmp_path / "hf" / perceptual._SOURCES["maniqa"].hugging_face[0]).unlink()
    assert "vit_base_patch8_224" in absent("maniqa")
    assert perceptual_terms([(torch.rand(3, 8, 8), torch.rand(3, 8, 8))]) == PerceptualTerms()
    assert pyiqa.made == []


@pytest.mark.usefixtures("pyiqa")
def test_images_are_rounded_to_eight_bits_and_cut_at_white(tmp_path):
    put_files(tmp_path, "lpips")
    target = torch.full((3, 8, 8), 1.0)
    assert perceptual_terms([(target + 0.3, target)]).lpips == 0
    assert perceptual_terms([(target - 0.4 / 255, target)]).lpips == 0


def test_with_all_files_there_is_a_score(pyiqa, tmp_path):
    put_files(tmp_path, *perceptual._SOURCES)
    image = torch.full((3, 8, 8), 0.2)
    assert ntire_score(perceptual_terms([(image, image)])) == pytest.approx(1 + 1 + 0.2 + 0.2 + 0.002 + 0.98)
    assert len(pyiqa.made) == 6
