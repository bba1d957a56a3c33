# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import pytest
import torch
from mmengine.registry import OPTIM_WRAPPERS
from torch import nn

import beit3_mm  # noqa: F401

DEVICES = ['cpu', *(['cuda'] if torch.cuda.is_available() else [])]


@pytest.mark.parametrize('device', DEVICES)
def test_computes_in_bfloat16_and_keeps_float32(device):
    model = nn.Linear(64, 1).to(device)
    wrapper = OPTIM_WRAPPERS.build(
        {
            'type': 'beit3_mm.AmpOptimWrapper',
            'optimizer': torch.optim.SGD(model.parameters(), lr=0.1),
            'accumulative_counts': 2,
            'clip_grad': {'max_norm': 1.0},
        }
    )
    wrapper.initialize_count_status(model, 0, 2)
    before = model.weight.detach().clone()
    for step in range(2):
        with wrapper.optim_context(model):
            out = model(torch.ones(2, 64, device=device))
        assert out.dtype == torch.bfloat16
        wrapper.update_params(out.float().sum())
        moved = not torch.equal(model.weight, before)
        assert moved == (step == 1)  # after two accumulated gradients
    assert model.weight.dtype == torch.float32
    assert not torch.is_autocast_enabled(device)
    # No loss scaler.
    assert set(wrapper.state_dict()) == {'state', 'param_groups'}
