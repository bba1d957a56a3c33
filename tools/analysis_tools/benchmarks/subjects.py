# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Data loading, a training step and inference of a config's model.

Weights are random, so that no file is needed. Without training nearly every
box has a score worth keeping, which is the most that inference can meet.
"""

import copy
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DATASETS, MODELS
from mmengine.runner import Runner
from torch import nn

from benchmarks.measure import Case, Setting
from benchmarks.synthetic import write_coco, write_masks


@dataclass(frozen=True)
class Source:
    """Where batches come from.

    Args:
        cfg: Its data loaders are used, and if their annotation files do not
            exist, their transforms on drawn pictures.
        batch_size: Images of a batch; None as in the config.
        folder: For drawn pictures.
    """

    cfg: Config
    batch_size: int | None
    folder: Path

    def loader_config(self, stage: str) -> tuple[dict, str]:
        """Returns a data loader's config, and what its images are.

        Args:
            stage: 'train' or 'test'.

        Raises:
            ValueError: If the config has none, or one of another kind.
        """
        key = f'{stage}_dataloader'
        if self.cfg.get(key) is None:
            raise ValueError(f'the config has no {key}')
        config = copy.deepcopy(self.cfg[key].to_dict())
        config.pop('prefetch_factor', None)
        config |= {'num_workers': 0, 'persistent_workers': False}
        config['batch_size'] = self.batch_size or config['batch_size']
        dataset = config['dataset']
        while 'dataset' in dataset:  # wrappers
            dataset = dataset['dataset']
        part = _annotations(dataset)
        if part is None:
            raise ValueError(
                f'{key}: {dataset["type"]!r} has neither an ann_file nor a '
                'data_prefix.seg_map_path; only a data set with one can be '
                'measured'
            )
        if Path(dataset.get('data_root') or '', part).exists():
            return config, 'real'
        count = max(8, config['batch_size'])
        dataset |= _draw(dataset, self.folder / stage, count)
        return config, 'synthetic'

    def first_batch(self, stage: str) -> tuple[dict, str]:
        """Returns a batch, and its images in words."""
        config, kind = self.loader_config(stage)
        batch = next(iter(Runner.build_dataloader(config, seed=0)))
        sizes = [image.shape[-2:] for image in batch['inputs']]
        height, width = (max(side) for side in zip(*sizes))
        return batch, f'{len(sizes)} x {height} x {width}, {kind}'


def _annotations(dataset: dict) -> str | None:
    """Returns the file or folder of annotations that a data set names."""
    masks = dataset.get('data_prefix', {}).get('seg_map_path')
    return masks or dataset.get('ann_file')


def _draw(dataset: dict, folder: Path, count: int) -> dict:
    """Draws pictures for a data set and returns what it must be told."""
    classes = _class_names(dataset)
    if 'seg_map_path' not in dataset.get('data_prefix', {}):
        return write_coco(folder, classes, count)
    stuff = dataset['type'].endswith('COCOStuffDataset')
    suffix = '_labelTrainIds.png' if stuff else '.png'
    return write_masks(folder, len(classes), count, suffix)


def _class_names(dataset: dict) -> list[str]:
    """Returns the classes that a data set expects in its annotation file."""
    classes = (dataset.get('metainfo') or {}).get('classes')
    if classes is None:
        with DATASETS.switch_scope_and_registry(None) as registry:
            classes = registry.get(dataset['type']).METAINFO['classes']
    return list(classes)


def data(source: Source, setting: Setting) -> Case:
    """Loading and augmenting a training batch, in one process."""
    config, kind = source.loader_config('train')
    size = config['batch_size']

    def build() -> Callable[[], Any]:
        cv2.setNumThreads(0)  # as in a worker of a training run
        loader = Runner.build_dataloader(config, seed=0)
        batches = itertools.chain.from_iterable(itertools.repeat(loader))
        return lambda: next(batches)

    return Case('data loading', build, f'{size} images, {kind}', size, flops=0)


def train(source: Source, setting: Setting) -> Case:
    """A training step: forward, backward and optimizer."""
    batch, inputs = source.first_batch('train')
    optimizer = source.cfg.get('optim_wrapper')
    if optimizer is None:
        raise ValueError('the config has no optim_wrapper')
    optimizer = optimizer.to_dict()
    # Whichever the config has, the setting decides.
    for option in ('loss_scale', 'dtype'):
        optimizer.pop(option, None)
    bfloat16 = setting.dtype == torch.bfloat16
    kind = 'beit3_mm.AmpOptimWrapper' if bfloat16 else 'mmengine.OptimWrapper'
    optimizer['type'] = kind

    def build() -> Callable[[], Any]:
        model = _build_model(source.cfg, setting).train()
        wrapper = build_optim_wrapper(model, copy.deepcopy(optimizer))
        for group in wrapper.param_groups:
            group['lr'] = 0.0  # so that every step is the same work
        return lambda: model.train_step(batch, wrapper)

    return Case('training step', build, inputs, len(batch['inputs']))


def inference(source: Source, setting: Setting) -> Case:
    """Inference on a test batch, with all post-processing."""
    batch, inputs = source.first_batch('test')

    def build() -> Callable[[], Any]:
        model = _build_model(source.cfg, setting).eval()
        return setting.inference(model.test_step, batch)

    return Case('inference', build, inputs, len(batch['inputs']))


SUBJECTS: dict[str, Callable[[Source, Setting], Case]] = {
    'data': data,
    'train': train,
    'inference': inference,
}


def _build_model(cfg: Config, setting: Setting) -> nn.Module:
    torch.manual_seed(0)
    return MODELS.build(copy.deepcopy(cfg.model)).to(setting.device)
