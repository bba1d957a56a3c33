# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import re

import pytest
import torch
from mmengine.model import BaseModel
from mmengine.registry import MODELS
from torch import nn


@MODELS.register_module()
class SpoiltModel(BaseModel):
    """Has the given value in a part of its loss, from an iteration on."""

    def __init__(self, first, part, value):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.first, self.part, self.value = first, part, value
        self.calls = 0

    def forward(self, inputs, data_samples=None, mode='tensor'):
        self.calls += 1
        parts = {
            'loss_box': self.weight,
            'loss_mask': self.weight * 1,
            'accuracy': torch.tensor(0.5),
        }
        if self.calls >= self.first:
            parts[self.part] = parts[self.part] * float(self.value)
        return parts


@pytest.fixture
def train(make_runner):
    def run(first, part, value, **changes):
        runner = make_runner(
            iterations=True,
            model=dict(
                type='SpoiltModel', first=first, part=part, value=value
            ),
            custom_hooks=[{'type': 'beit3_mm.FiniteLossHook'}],
            **changes,
        )
        runner.train()

    return run


@pytest.mark.parametrize('value', ['nan', 'inf'])
def test_a_loss_that_is_not_finite_ends_the_run(train, tmp_path, value):
    newest = tmp_path / 'work' / 'iter_3.pth'
    message = (
        f'the loss is not finite in iteration 6: loss={value}, '
        f'loss_mask={value}. Nothing was saved since; the newest checkpoint '
        f'is {newest}. Clip the gradients (--cfg-options '
        'optim_wrapper.clip_grad.max_norm=1.0) and go on with --resume; or, '
        'since a resumed run keeps its learning rate, start another one from '
        f'there (load_from={newest}) with a lower optim_wrapper.optimizer.lr. '
        'If that fails at once, its weights are spoilt already: take an '
        'earlier one'
    )
    # Iteration 6 is one that saves.
    with pytest.raises(ValueError, match=f'^{re.escape(message)}$'):
        train(6, 'loss_mask', value)
    assert list(newest.parent.glob('*.pth')) == [newest]
    assert torch.load(newest, weights_only=True)['state_dict'][
        'weight'
    ].isfinite()


def test_before_the_first_checkpoint(train):
    with pytest.raises(ValueError, match=r'iteration 1: .* no checkpoint yet'):
        train(1, 'loss_box', 'nan')


def test_figures_that_are_no_loss_may_be_undefined(train, tmp_path):
    train(2, 'accuracy', 'nan')
    assert (tmp_path / 'work' / 'iter_12.pth').is_file()
