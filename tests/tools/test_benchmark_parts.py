# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""The parts of tools/analysis_tools/benchmark.py, in its folder benchmarks."""

import math
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from beit3_mm.models.backbones import BEiT3ViT

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def modules(monkeypatch):
    """Lets tests import what the tool imports."""
    monkeypatch.syspath_prepend(ROOT / 'tools' / 'analysis_tools')


@pytest.mark.parametrize('method', ['linear', 'gaussian', 'naive'])
def test_plain_soft_nms(method):
    from benchmarks import plain

    boxes = torch.tensor([[0.0, 0, 2, 2], [0, 0, 2, 1], [5, 5, 6, 6]])
    scores = torch.tensor([0.9, 0.8, 0.1])
    iou = 0.5
    weight = dict(linear=1 - iou, gaussian=math.exp(-(iou**2) / 0.5), naive=0)
    dets, keep = plain.soft_nms(boxes, scores, 3, method=method)
    expected = torch.tensor([0.9, 0.8 * weight[method], 0.1])
    if method == 'naive':
        expected = expected[[0, 2]]
    torch.testing.assert_close(dets[:, 4], expected)
    assert torch.equal(dets[:, :4], boxes[keep])
    assert len(plain.soft_nms(boxes, scores / 1e4, 3)[1]) == 0


def test_flops_of_the_base_backbone():
    from benchmarks.comparisons import backbone_flops

    cfg = Config.fromfile(ROOT / 'configs/det/beit3_cascade_coco.py')
    tokens, dims, inner = 4096, 768, 3072
    assert backbone_flops(cfg.model.backbone, (64, 64)) == (
        12 * tokens * (4 * dims * dims + 2 * dims * inner) * 2
        + 8 * tokens * 196 * dims * 4
        + 4 * tokens * tokens * dims * 4
        + tokens * 768 * dims * 2
    )


@pytest.mark.parametrize(
    'attention', [dict(window_size=2, global_attn_indexes=(1,)), {}]
)
@torch.no_grad()
def test_flops_are_those_that_torch_counts(tiny_arch, attention):
    from benchmarks.comparisons import backbone_flops
    from benchmarks.measure import count_flops

    arch = dict(tiny_arch, **attention)
    model = BEiT3ViT(**arch)
    counted = count_flops(lambda: model(torch.zeros(1, 3, 32, 48)))
    assert counted == backbone_flops(arch, (4, 6))


def test_the_share_is_that_of_each_call():
    from benchmarks.measure import Measurement

    result = Measurement(None, 60, 0, [2.0, 3.0, 1.0], [60.0, 40.0, 100.0])
    assert result.shares == [0.5, 0.5, 0.6]
    assert result.median == 2.0


def test_difference():
    from benchmarks.measure import difference

    x = torch.tensor([1.0, -4.0])
    assert difference(x, x + torch.tensor([0.0, 1.0])) == 0.25
    assert difference((x, x), (x, x)) == 0
    assert difference((x, x), (x, x + 2)) == 0.5
    assert math.isnan(difference((x, x), (x * math.nan, x)))
    assert difference(x, x[:1]) == math.inf
    index = torch.tensor([3, 4])
    assert difference(index, index) == 0
    assert difference(index, index + 1) == math.inf
    assert difference(x[:0], x[:0]) == 0


def test_peak_memory():
    from benchmarks.memory import PeakMemory

    cpu = torch.device('cpu')
    sizes = []
    for megabytes in (192, 64):  # the second peak is the lower one
        with PeakMemory(cpu) as memory:
            torch.ones(megabytes, 2**18)
        sizes.append(memory.peak / 2**20)
    assert 191 <= sizes[0] < 224
    assert 63 <= sizes[1] < 96


def test_classes_of_drawn_pictures_are_those_of_the_data_set():
    from benchmarks.subjects import _class_names

    names = _class_names(dict(type='mmdet.Objects365V2Dataset'))
    assert len(names) == 365


def test_drawn_masks_are_read_by_mmseg(tmp_path):
    from benchmarks.subjects import _draw
    from mmengine.registry import DATASETS

    for kind, classes in (('ADE20KDataset', 150), ('COCOStuffDataset', 171)):
        config = dict(
            type=f'mmseg.{kind}', data_prefix=dict(seg_map_path='gone')
        )
        config |= _draw(config, tmp_path / kind, count=2)
        load = dict(type='beit3_mm.LoadSemanticMask', num_classes=classes)
        pipeline = [dict(type='beit3_mm.LoadImageFromFile'), load]
        dataset = DATASETS.build(dict(config, pipeline=pipeline))
        assert len(dataset) == 2
        values = {int(v) for v in dataset[1]['gt_seg_map'].flat}
        assert len(values) > 2


@pytest.mark.parametrize(
    ('dtype', 'wrapper'),
    [
        (torch.float32, 'mmengine.OptimWrapper'),
        (torch.bfloat16, 'beit3_mm.AmpOptimWrapper'),
    ],
)
def test_the_setting_decides_on_autocast(
    monkeypatch, tmp_path, dtype, wrapper
):
    from benchmarks import subjects
    from benchmarks.measure import Setting

    built = []

    def build_optim_wrapper(model, config):
        built.append(config['type'])
        return Config(dict(param_groups=[]))

    monkeypatch.setattr(subjects, 'build_optim_wrapper', build_optim_wrapper)
    monkeypatch.setattr(subjects, '_build_model', lambda *_: torch.nn.ReLU())
    monkeypatch.setattr(
        subjects.Source, 'first_batch', lambda *_: ({'inputs': [0]}, '')
    )
    cfg = Config.fromfile(ROOT / 'configs/det/beit3_cascade_coco.py')
    setting = Setting(torch.device('cpu'), dtype)
    subjects.train(subjects.Source(cfg, None, tmp_path), setting).build()
    assert built == [wrapper]
