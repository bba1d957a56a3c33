# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from beit3_mm.layers import feed_forward
from beit3_mm.layers.feed_forward import FeedForward


def test_it_is_norm_linear_gelu_norm_linear():
    torch.manual_seed(0)
    ffn = FeedForward(6, 10, sub_norm=True)
    for parameter in ffn.parameters():
        torch.nn.init.normal_(parameter)
    x = torch.randn(2, 5, 6)

    def norm(y, module):
        y = (y - y.mean(-1, True)) / (
            y.var(-1, correction=0)[..., None] + 1e-5
        ).sqrt()
        return y * module.weight + module.bias

    hidden = norm(x, ffn.norm) @ ffn.fc1.weight.T + ffn.fc1.bias
    # exact GELU: x * Phi(x)
    hidden = hidden * (1 + torch.erf(hidden / 2**0.5)) / 2
    hidden = norm(hidden, ffn.sub_norm)
    expected = hidden @ ffn.fc2.weight.T + ffn.fc2.bias
    torch.testing.assert_close(ffn(x), expected, atol=1e-5, rtol=1e-5)


def test_chunks_change_nothing(monkeypatch):
    torch.manual_seed(0)
    ffn = FeedForward(6, 10, sub_norm=True).double()
    x = torch.randn(2, 5, 6, dtype=torch.double)
    whole = ffn(x)  # with gradients it is not cut
    monkeypatch.setattr(feed_forward, 'CPU_CHUNK', 3)
    with torch.no_grad():
        torch.testing.assert_close(ffn(x), whole, rtol=0, atol=1e-12)
    assert whole.requires_grad


def step(with_cp, sub_norm):
    """Returns output, gradients, FLOPs and kept values of a step."""
    torch.manual_seed(0)
    ffn = FeedForward(6, 60, sub_norm, with_cp=with_cp)
    x = torch.randn(2, 5, 6, requires_grad=True)
    kept = {}

    def keep(tensor):
        kept[tensor.data_ptr()] = tensor.numel()
        return tensor

    with FlopCounterMode(display=False) as counter:
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
            y = ffn(x)
        y.square().sum().backward()
    gradients = [parameter.grad for parameter in ffn.parameters()]
    flops = counter.get_total_flops()
    return [y, x.grad, *gradients], flops, sum(kept.values())


@pytest.mark.parametrize('sub_norm', [True, False])
def test_recomputing_saves_memory_and_multiplies_nothing_again(sub_norm):
    kept, again = step(False, sub_norm), step(True, sub_norm)
    torch.testing.assert_close(again[0], kept[0], rtol=0, atol=0)
    assert again[1] == kept[1]
    # Of two or three wide activations, `fc1`'s output is left.
    assert kept[2] - again[2] >= (2 if sub_norm else 1) * 2 * 5 * 60


def test_without_sub_norm():
    names = FeedForward(6, 10, sub_norm=False).state_dict()
    assert not any('sub_norm' in name for name in names)
