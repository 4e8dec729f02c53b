"""The dynamic filter against SciPy, against itself in both forms, and against its definition."""

import pytest
import torch
from scipy.ndimage import uniform_filter

from eorestore.layers import dynamic_filter as module
from eorestore.layers.dynamic_filter import dynamic_filter

FORMS = ("unfold", "shift")


def draw(*shape, dtype=torch.float32, seed=0):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("form", FORMS)
def test_a_one_in_the_middle_of_each_kernel_gives_the_input_back(form):
    features = draw(2, 3, 7, 9)
    kernels = torch.zeros(2, 3 * 25, 7, 9)
    kernels[:, 12::25] = 1
    assert torch.equal(dynamic_filter(features, kernels, form=form), features)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("row", "column"), [(0, 0), (0, 4), (1, 3), (3, 2), (4, 4)])
def test_a_one_at_5i_plus_j_reads_the_neighbour_without_flip(form, row, column):
    features = draw(1, 2, 8, 11)
    kernels = torch.zeros(1, 2 * 25, 8, 11)
    kernels[:, 5 * row + column :: 25] = 1
    y = (torch.arange(8) + row - 2).clamp(0, 7)
    x = (torch.arange(11) + column - 2).clamp(0, 10)
    assert torch.equal(dynamic_filter(features, kernels, form=form), features[:, :, y][:, :, :, x])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("size", [3, 5])
def test_equal_weights_are_the_box_mean_of_scipy(form, size):
    features = draw(1, 1, 12, 10)
    kernels = torch.full((1, size * size, 12, 10), 1 / size**2)
    ours = dynamic_filter(features, kernels, size=size, form=form)[0, 0]
    assert torch.allclose(
        ours, torch.from_numpy(uniform_filter(features[0, 0].numpy(), size, mode="nearest")), atol=1e-6
    )


def test_every_pixel_and_channel_has_its_own_kernel():
    features, kernels = draw(1, 2, 6, 6), draw(1, 50, 6, 6, seed=1)
    changed = kernels.clone()
    changed[0, 25:, 3, 4] += 1
    where = (dynamic_filter(features, kernels) != dynamic_filter(features, changed)).nonzero().tolist()
    assert where == [[0, 1, 3, 4]]


def test_both_forms_agree():
    features, kernels = draw(2, 4, 13, 10), draw(2, 100, 13, 10, seed=1)
    unfold, shift = (dynamic_filter(features, kernels, form=form) for form in FORMS)
    assert torch.allclose(unfold, shift, atol=4e-6)


@pytest.mark.parametrize("form", FORMS)
def test_the_gradient_is_right_in_double_precision(form):
    features = draw(1, 2, 4, 5, dtype=torch.float64).requires_grad_()
    kernels = draw(1, 50, 4, 5, dtype=torch.float64, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda s, k: dynamic_filter(s, k, form=form), (features, kernels))


@pytest.mark.parametrize(("recording", "expected"), [(True, "_unfold"), (False, "_shift")])
def test_the_form_follows_whether_gradients_are_recorded(monkeypatch, recording, expected):
    taken = []
    for name in ("_unfold", "_shift"):
        original = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *a, n=name, f=original: (taken.append(n), f(*a))[1])
    with torch.set_grad_enabled(recording):
        dynamic_filter(draw(1, 1, 4, 4), draw(1, 25, 4, 4))
    assert taken == [expected]
