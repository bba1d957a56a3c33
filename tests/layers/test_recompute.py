# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import pytest
import torch

from beit3_mm.layers.recompute import recompute


@pytest.mark.parametrize(
    ('enabled', 'grad', 'calls'),
    [(False, True, 1), (True, True, 2), (True, False, 1)],
)
def test_it_calls_again_only_for_gradients(enabled, grad, calls):
    count = []

    def square(x, factor):
        count.append(1)
        return factor * x.square()

    x = torch.tensor([3.0], requires_grad=True)
    with torch.set_grad_enabled(grad):
        y = recompute(enabled, square, x, 2)
    assert y.item() == 18
    assert y.requires_grad is grad
    if grad:
        y.backward()
        assert x.grad.item() == 12
    assert len(count) == calls


def test_random_numbers_are_drawn_alike():
    x = torch.ones(100, requires_grad=True)
    y = recompute(True, torch.nn.functional.dropout, x, 0.5)
    y.sum().backward()
    assert torch.equal(x.grad, y.detach())
