# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import pytest
import torch

from beit3_mm.layers.drop_path import DropPath


def test_whole_samples_are_dropped_and_the_mean_is_kept():
    torch.manual_seed(0)
    y = DropPath(0.25)(torch.ones(4000, 2, 3))
    values = y.flatten(1)
    assert (values == values[:, :1]).all()
    assert set(values[:, 0].tolist()) == {0.0, torch.tensor(1 / 0.75).item()}
    assert abs(y.mean().item() - 1) < 0.05


def test_evaluation_drops_nothing():
    x = torch.randn(3, 2)
    assert DropPath(0.5).eval()(x) is x


@pytest.mark.parametrize('rate', [-0.1, 1.0])
def test_rate_out_of_range(rate):
    with pytest.raises(ValueError, match=str(rate)):
        DropPath(rate)
