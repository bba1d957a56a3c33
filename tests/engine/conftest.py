# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""A toy model and data, trained by mmengine's Runner with our hooks."""

import copy
import itertools
import random
from collections import OrderedDict

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, METRICS, MODELS, TRANSFORMS
from mmengine.runner import FlexibleRunner, Runner
from mmengine.structures import BaseDataElement
from safetensors.torch import save_file
from torch import nn

import beit3_mm  # noqa: F401

_run_number = itertools.count()
SCHEDULE_AND_HOOKS = {
    'optim_wrapper': {
        'optimizer': {
            'type': 'AdamW',
            'lr': 0.01,
            'weight_decay': 0.1,
        }
    },
    'param_scheduler': [
        {'type': 'LinearLR', 'by_epoch': False, 'end': 4},
        {
            'type': 'CosineAnnealingLR',
            'by_epoch': False,
            'begin': 4,
            'T_max': 8,
        },
    ],
    'default_hooks': {
        'checkpoint': {
            'type': 'CheckpointHook',
            'by_epoch': False,
            'interval': 3,
        },
        'safe_checkpoint': {'type': 'beit3_mm.SafeCheckpointHook'},
        'load_checkpoint': {'type': 'beit3_mm.LoadCheckpointHook'},
        'sampler_seed': {'type': 'beit3_mm.SampleOrderHook'},
    },
}


@TRANSFORMS.register_module()
class ToyDraw:
    """Adds one number of each generator; rejects some samples."""

    def __call__(self, results):
        drawn = [random.random(), np.random.rand(), torch.rand(()).item()]
        if drawn[0] < 0.2:
            return None
        inputs = torch.tensor([results['number'], *drawn])
        return {'inputs': inputs, 'data_samples': results['number']}


@DATASETS.register_module()
class ToyDataset(BaseDataset):
    METAINFO = {'classes': ('a', 'b')}

    def __init__(self, size, **kwargs):
        self.size = size
        super().__init__(**kwargs)

    def load_data_list(self):
        return [
            {'number': i, 'img_path': f'{i}.jpg'} for i in range(self.size)
        ]

    def get_cat_ids(self, index):
        return [index % 2]


@MODELS.register_module()
class ToyModel(BaseModel):
    """Notes the inputs of every batch in `seen`."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 2)
        self.norm = nn.BatchNorm1d(2)
        self.seen = []

    def forward(self, inputs, data_samples=None, mode='tensor'):
        inputs = torch.stack(inputs)
        self.seen.append(inputs)
        return {'loss': self.norm(self.linear(inputs)).square().mean()}


@MODELS.register_module()
class PredictingModel(ToyModel):
    """Predicts nothing for each sample."""

    def forward(self, inputs, data_samples=None, mode='tensor'):
        if mode == 'predict':
            return [BaseDataElement() for _ in inputs]
        return super().forward(inputs, data_samples, mode)


@METRICS.register_module()
class NothingMetric(BaseMetric):
    def process(self, data_batch, data_samples):
        self.results.append(0)

    def compute_metrics(self, results):
        return OrderedDict(number=len(results))


@pytest.fixture
def make_runner(tmp_path, monkeypatch):
    """Builds a runner of the toy; keyword arguments replace config entries."""
    # It asks compilers for their versions: half the time of these tests.
    monkeypatch.setattr(Runner, '_log_env', lambda self, env_cfg: None)

    def make(iterations=False, num_workers=0, batch_size=2, **changes):
        loop = (
            {'type': 'IterBasedTrainLoop', 'max_iters': 12}
            if iterations
            else {'type': 'EpochBasedTrainLoop', 'max_epochs': 3}
        )
        sampler = 'InfiniteSampler' if iterations else 'EpochSampler'
        cfg = {
            'model': {'type': 'ToyModel'},
            'work_dir': str(tmp_path / 'work'),
            'experiment_name': f'toy{next(_run_number)}',
            'train_cfg': loop,
            'train_dataloader': {
                'dataset': {
                    'type': 'beit3_mm.SeededDataset',
                    'dataset': {
                        'type': 'ToyDataset',
                        'size': 8,
                        'pipeline': [{'type': 'ToyDraw'}],
                    },
                },
                'sampler': {'type': f'beit3_mm.{sampler}'},
                'batch_size': batch_size,
                'num_workers': num_workers,
                'persistent_workers': num_workers > 0,
            },
            **copy.deepcopy(SCHEDULE_AND_HOOKS),
            'randomness': {'seed': 3},
            'log_level': 'WARNING',
            **changes,
        }
        return Runner.from_cfg(Config(cfg))

    return make


@pytest.fixture
def make_flexible_runner(make_runner, monkeypatch):
    """Builds mmengine's other runner in the same way."""
    monkeypatch.setattr(FlexibleRunner, '_log_env', lambda self: None)

    def make(iterations=False, **changes):
        cfg = make_runner(iterations).cfg.copy()
        cfg.merge_from_dict(
            dict(
                strategy=dict(type='SingleDeviceStrategy'),
                experiment_name=f'flexible{next(_run_number)}',
                env_cfg={},
                **changes,
            )
        )
        return FlexibleRunner.from_cfg(cfg)

    return make


@pytest.fixture
def validation(make_runner):
    """Config entries of a validation that counts the samples."""
    loader = make_runner().cfg.train_dataloader.to_dict()
    loader['sampler'] = {'type': 'DefaultSampler', 'shuffle': False}
    return {
        'model': {'type': 'PredictingModel'},
        'val_dataloader': loader,
        'val_cfg': {'type': 'ValLoop'},
        'val_evaluator': {'type': 'NothingMetric'},
    }


@pytest.fixture
def save(tmp_path):
    """Writes weights as an official file, as ours or as safetensors."""

    def write(weights, kind='model'):
        path = tmp_path / f'{kind}.pth'
        if kind == 'safetensors':
            path = path.with_suffix('.safetensors')
            save_file(weights, path)
        else:
            torch.save({kind: weights}, path)
        return str(path)

    return write
