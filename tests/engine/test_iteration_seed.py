# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import random

import numpy as np
import pytest
import torch
from mmengine.model import BaseModel
from mmengine.registry import MODELS
from torch import nn

from beit3_mm.engine import iteration_seed


@MODELS.register_module()
class DrawingModel(BaseModel):
    """Notes what it draws from each generator in every iteration."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.drawn = []

    def forward(self, inputs, data_samples=None, mode='tensor'):
        draws = [random.random(), np.random.rand(), torch.rand(()).item()]
        self.drawn.append(draws)
        return {'loss': self.weight}


@pytest.fixture
def draw(make_runner):
    """Trains and returns what each iteration drew, (iterations, 3)."""

    def train(**changes):
        runner = make_runner(
            iterations=True,
            model={'type': 'DrawingModel'},
            custom_hooks=[{'type': 'beit3_mm.IterationSeedHook'}],
            **changes,
        )
        runner.train()
        workers = runner.train_loop.dataloader_iterator._iterator
        if hasattr(workers, '_shutdown_workers'):
            workers._shutdown_workers()
        return torch.tensor(runner.model.drawn, dtype=torch.float64)

    return train


@pytest.mark.parametrize('seed', [None, 5])
def test_draws_do_not_depend_on_resumes_or_workers(draw, tmp_path, seed):
    randomness = {'seed': seed, 'diff_rank_seed': True}
    whole = draw(randomness=randomness)
    assert len(whole.unique(dim=0)) == len(whole) == 12
    for num_workers in (0, 2):
        resumed = draw(
            randomness=randomness,
            num_workers=num_workers,
            work_dir=str(tmp_path / 'resumed'),
            load_from=str(tmp_path / 'work' / 'iter_6.pth'),
            resume=True,
        )
        torch.testing.assert_close(resumed, whole[6:], rtol=0, atol=0)
    other = draw(randomness={'seed': 6}, work_dir=str(tmp_path / 'other'))
    assert not torch.isin(other, whole).any()


def test_each_process_draws_its_own(draw, monkeypatch):
    first = draw()
    monkeypatch.setattr(iteration_seed, 'get_rank', lambda: 1)
    assert not torch.isin(draw(), first).any()
