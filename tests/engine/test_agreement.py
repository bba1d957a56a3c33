# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""What one of two processes meets, both deal with."""

import itertools
import os
import signal
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.registry import HOOKS, MODELS
from mmengine.runner import FlexibleRunner
from torch import nn
from torch.utils.data import TensorDataset
from two_processes import run_in_two_processes

import beit3_mm  # noqa: F401
from beit3_mm.datasets.samplers import EpochSampler
from beit3_mm.datasets.seeding import SeededDataset
from beit3_mm.engine import BroadcastBuffersHook, FiniteLossHook
from beit3_mm.engine.agreement import any_process
from beit3_mm.engine.preemption import Preempted
from beit3_mm.engine.safe_checkpoint import latest_checkpoint

_number = itertools.count()


@MODELS.register_module(force=True)
class TwoLayers(BaseModel):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 2)
        )

    def forward(self, inputs, data_samples=None, mode='tensor'):
        return {'loss': self.layers(inputs).square().mean()}


@HOOKS.register_module(force=True)
class SignalSecondHook(Hook):
    def after_train_iter(self, runner, batch_idx, data_batch, outputs):
        if runner.iter + 1 == 6 and get_rank() == 1:
            os.kill(os.getpid(), signal.SIGTERM)


def collate(batch):
    return {'inputs': torch.stack([sample[0] for sample in batch])}


def train(work_dir, *hooks, **changes):
    """Trains a model that both share, with draws of each its own."""
    inputs = torch.rand(16, 4, generator=torch.Generator().manual_seed(1))
    dataset = SeededDataset(TensorDataset(inputs))
    loader = torch.utils.data.DataLoader(
        dataset, 2, sampler=EpochSampler(dataset, seed=0), collate_fn=collate
    )
    kinds = dict(
        safe_checkpoint='SafeCheckpointHook',
        load_checkpoint='LoadCheckpointHook',
        sampler_seed='SampleOrderHook',
        iteration_seed='IterationSeedHook',
        finite_loss='FiniteLossHook',
        preemption='PreemptionHook',
    )
    FlexibleRunner._log_env = lambda self: None  # asks compilers for long
    runner = FlexibleRunner(
        model=dict(type='TwoLayers'),
        work_dir=str(work_dir),
        experiment_name=f'shared{next(_number)}',
        strategy=dict(type='beit3_mm.FSDP2Strategy', layers=['Linear']),
        launcher='pytorch',
        train_dataloader=loader,
        train_cfg=dict(by_epoch=True, max_epochs=3),
        optim_wrapper=dict(optimizer=dict(type='AdamW', lr=0.01)),
        default_hooks={
            name: dict(type=f'beit3_mm.{kind}') for name, kind in kinds.items()
        },
        custom_hooks=list(hooks),
        randomness=dict(seed=4, diff_rank_seed=True),
        cfg=Config(changes),
        log_level='WARNING',
        **changes,
    )
    runner.train()


def meet_accidents(folder):
    """Returns what this process does in each."""
    rank = get_rank()
    asked = any_process(rank == 1), any_process(False)
    loss = torch.tensor(float('nan') if rank == 1 else 1.0)
    runner = SimpleNamespace(iter=4, work_dir=str(folder))
    with pytest.raises(ValueError, match='not finite') as spoilt:
        FiniteLossHook().after_train_iter(runner, 0, None, {'loss': loss})
    norm = nn.BatchNorm1d(2)
    norm.running_mean.fill_(rank + 1)
    norm.num_batches_tracked.fill_(rank + 3)
    BroadcastBuffersHook().before_val_epoch(SimpleNamespace(model=norm))
    with pytest.raises(Preempted) as end:
        train(folder / 'run', dict(type='SignalSecondHook'))
    path = latest_checkpoint(str(folder / 'run'))
    train(folder / 'run', load_from=path, resume=True)
    train(folder / 'whole')
    return {
        'asked': asked,
        'spoilt': str(spoilt.value),
        'buffers': norm.state_dict(),
        'end': str(end.value),
    }


def test_both_processes_do_what_one_has_to(tmp_path):
    first, second = run_in_two_processes(meet_accidents, tmp_path, tmp_path)
    for result in first, second:
        assert result['asked'] == (True, False)
        assert result['spoilt'].startswith(
            'the loss is not finite in iteration 5: loss=nan in process 1. '
        )
        assert result['buffers']['running_mean'].tolist() == [1, 1]
        assert result['buffers']['num_batches_tracked'] == 3
    path = tmp_path / 'run' / 'epoch_1_iter_6.pth'
    end = f'ended the training at iteration 6; saved {path}; go on'
    assert first['end'].startswith(f'a signal to another process {end}')
    assert second['end'].startswith(f'SIGTERM {end}')
    saved = torch.load(path, weights_only=True)
    # 4 batches an epoch for each of two processes: 2 batches of 2 are done.
    assert saved['sample_order']['position'] == 8
    assert (saved['meta']['epoch'], saved['meta']['iter']) == (1, 6)
    done, whole = (
        torch.load(tmp_path / run / 'epoch_3.pth', weights_only=True)
        for run in ('run', 'whole')
    )
    for part in ('state_dict', 'optimizer'):
        torch.testing.assert_close(done[part], whole[part])
