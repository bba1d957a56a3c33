# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""A small Mask R-CNN of mmdet's on drawn squares, and the tools to run it."""

import importlib.util
import itertools
import json
import signal
import sys
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
from mmengine.logging import MessageHub, MMLogger
from mmengine.runner import Runner
from mmengine.runner.checkpoint import CheckpointLoader
from mmengine.visualization import Visualizer
from PIL import Image

from beit3_mm.engine import loading

ROOT = Path(__file__).parents[2]
RUNTIME = ROOT / 'configs' / '_base_' / 'runtime.py'
CONFIG = """
_base_ = ['mmdet::_base_/models/mask-rcnn_r50_fpn.py', '{runtime}']
model = dict(
    _scope_='mmdet',
    backbone=dict(
        depth=18, base_channels=8, frozen_stages=-1, init_cfg=None,
        norm_cfg=dict(requires_grad=True), norm_eval=False),
    neck=dict(in_channels=[8, 16, 32, 64], out_channels=16),
    rpn_head=dict(in_channels=16, feat_channels=16),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=16),
        bbox_head=dict(in_channels=16, fc_out_channels=32, num_classes=2),
        mask_roi_extractor=dict(out_channels=16),
        mask_head=dict(in_channels=16, conv_out_channels=16, num_classes=2)),
    test_cfg=dict(rpn=dict(max_per_img=20), rcnn=dict(max_per_img=3)))
load = [
    dict(type='mmcv.LoadImageFromFile'),
    dict(type='mmdet.LoadAnnotations', with_bbox=True, with_mask=True),
]
data = dict(
    type='mmdet.CocoDataset', data_root='{data}', ann_file='annotations.json',
    data_prefix=dict(img='images'), metainfo=dict(classes=('dark', 'light')))
train_dataloader = dict(
    batch_size=2, num_workers=0,
    sampler=dict(type='beit3_mm.InfiniteSampler'),
    dataset=dict(
        type='beit3_mm.SeededDataset',
        dataset=dict(data, pipeline=[
            *load,
            dict(type='mmdet.RandomFlip', prob=0.5),
            dict(type='mmdet.PackDetInputs')])))
pack = dict(
    type='mmdet.PackDetInputs',
    meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor',
               'flip', 'flip_direction'))
test_dataloader = dict(
    batch_size=1, num_workers=0,
    sampler=dict(type='mmengine.DefaultSampler', shuffle=False),
    dataset=dict(data, test_mode=True, pipeline=[
        load[0],
        dict(type='mmdet.Resize', scale=(64, 64)),
        load[1],
        pack]))
val_dataloader = test_dataloader
test_evaluator = dict(
    type='mmdet.CocoMetric', ann_file='{data}/annotations.json',
    metric=['bbox', 'segm'])
val_evaluator = test_evaluator
train_cfg = dict(
    type='mmengine.IterBasedTrainLoop', max_iters=4, val_interval=4)
val_cfg = dict(type='mmengine.ValLoop')
test_cfg = dict(type='mmengine.TestLoop')
optim_wrapper = dict(
    type='mmengine.OptimWrapper',
    optimizer=dict(type='SGD', lr=0.001, weight_decay=0.0))
default_hooks = dict(
    logger=dict(interval=1),
    checkpoint=dict(by_epoch=False, interval=2),
    visualization=dict(type='mmdet.DetVisualizationHook'))
log_processor = dict(by_epoch=False)
visualizer = dict(type='mmdet.DetLocalVisualizer')
"""
_number = itertools.count()


@pytest.fixture(scope='session')
def coco(tmp_path_factory):
    """Four images of 64 x 64 pixels with one square each, COCO format."""
    folder = tmp_path_factory.mktemp('coco')
    (folder / 'images').mkdir()
    images, annotations = [], []
    rng = np.random.default_rng(0)
    for i in range(4):
        x, y, size = (int(v) for v in rng.integers(8, 24, 3))
        picture = rng.integers(100, 140, (64, 64, 3), dtype=np.uint8)
        picture[y : y + size, x : x + size] = 255 * (i % 2)
        Image.fromarray(picture).save(folder / 'images' / f'{i}.png')
        images.append(
            {'id': i, 'file_name': f'{i}.png', 'width': 64, 'height': 64}
        )
        x2, y2 = x + size, y + size
        annotations.append(
            {
                'id': i + 1,
                'image_id': i,
                'category_id': i % 2 + 1,
                'bbox': [x, y, size, size],
                'area': size * size,
                'segmentation': [[x, y, x2, y, x2, y2, x, y2]],
                'iscrowd': 0,
            }
        )
    categories = [{'id': 1, 'name': 'dark'}, {'id': 2, 'name': 'light'}]
    (folder / 'annotations.json').write_text(
        json.dumps(
            {
                'images': images,
                'annotations': annotations,
                'categories': categories,
            }
        )
    )
    return folder


@pytest.fixture
def write_config(tmp_path, coco):
    """Writes the config, with lines behind it, under a name of its own.

    mmengine's loggers live as long as the process and go by that name.
    """

    def write(text='', data=coco):
        path = tmp_path / f'config{next(_number)}.py'
        config = CONFIG.format(runtime=RUNTIME, data=data)
        path.write_text(config + text)
        return str(path)

    return write


@pytest.fixture
def run_tool(monkeypatch):
    """Runs `tools/<name>.py` with arguments, in this process."""
    monkeypatch.setattr(Runner, '_log_env', lambda self, env_cfg: None)
    # What `use_safe_loading` changes in the process is undone behind a test.
    monkeypatch.setenv('TORCH_FORCE_WEIGHTS_ONLY_LOAD', '0')
    monkeypatch.setattr(loading, '_trust_files', False)
    monkeypatch.setattr(
        CheckpointLoader, '_schemes', CheckpointLoader._schemes.copy()
    )

    def run(name, *args):
        path = ROOT / 'tools' / f'{name}.py'
        spec = importlib.util.spec_from_file_location(f'tools_{name}', path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        monkeypatch.setattr(sys, 'argv', [str(path), *map(str, args)])
        # Runs of one second have one name, by which mmengine would give the
        # second the logger of the first, with its closed files.
        for named in (MMLogger, MessageHub, Visualizer):
            monkeypatch.setattr(named, '_instance_dict', OrderedDict())
        module.main()

    terminated = signal.getsignal(signal.SIGTERM)
    yield run
    # A training that an error ended still listens.
    signal.signal(signal.SIGTERM, terminated)
