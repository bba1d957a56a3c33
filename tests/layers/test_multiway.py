# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import pytest
import torch
from torch import nn

from beit3_mm.layers.multiway import Multiway


def make(experts):
    torch.manual_seed(0)
    return Multiway(lambda: nn.Linear(4, 4), experts)


def test_each_modality_meets_its_expert():
    module = make(('vision', 'language'))
    x = torch.randn(2, 5, 4)
    y = module(x, num_vision=3)
    assert torch.equal(y[:, :3], module['vision'](x[:, :3]))
    assert torch.equal(y[:, 3:], module['language'](x[:, 3:]))
    assert torch.equal(module(x, 5), module['vision'](x))
    assert torch.equal(module(x, 0), module['language'](x))


def test_vision_language_expert_takes_fused_sequences_only():
    module = make(('vision', 'language', 'vision_language'))
    x = torch.randn(2, 5, 4)
    assert torch.equal(module(x, 3), module['vision_language'](x))
    assert torch.equal(module(x, 5), module['vision'](x))
    assert torch.equal(module(x, 0), module['language'](x))


def test_part_of_a_pair_meets_the_vision_language_expert():
    x = torch.randn(2, 5, 4)
    fused = make(('vision', 'language', 'vision_language'))
    apart = make(('vision', 'language'))
    for num_vision, name in ((5, 'vision'), (0, 'language')):
        y = fused(x, num_vision, part_of_pair=True)
        assert torch.equal(y, fused['vision_language'](x))
        y = apart(x, num_vision, part_of_pair=True)
        assert torch.equal(y, apart[name](x))


def test_shared_expert_takes_everything():
    module = make(('shared',))
    x = torch.randn(2, 5, 4)
    for num_vision in (0, 2, 5):
        assert torch.equal(module(x, num_vision), module['shared'](x))


def test_parameters_are_named_by_expert():
    names = {
        name for name, _ in make(('vision', 'language')).state_dict().items()
    }
    assert 'vision.weight' in names
    assert 'language.bias' in names


def test_errors_name_the_expert():
    with pytest.raises(ValueError, match="'audio'"):
        make(('vision', 'audio'))
    vision = make(('vision',))
    with pytest.raises(ValueError, match="'language'"):
        vision(torch.randn(1, 4, 4), 0)
    with pytest.raises(ValueError, match=r"built with \['vision'\]"):
        vision(torch.randn(1, 4, 4), 2)
