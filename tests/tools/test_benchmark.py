# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Nothing here asserts a time."""

import json
import math
from pathlib import Path

import pytest
import torch

from beit3_mm.layers.window import TokenMap

ROOT = Path(__file__).parents[2]
COMPARISONS = (
    *('backbone', 'window_padding', 'soft_nms'),
    *('deform_attn', 'deform_attn_train'),
)
ELSEWHERE = (  # are tested
    *('retrieval_encoding', 'retrieval_bf16'),
    *('captioning', 'captioning_bf16'),
    *('masked_modeling', 'masked_modeling_bf16'),
)
# Windows of 4 x 4 tokens do not divide the map of 6 x 5.
CONFIG = """
image_size = (40, 48)
model = dict(
    backbone=dict(
        type='beit3_mm.BEiT3ViT', img_size=32, patch_size=8, embed_dims=24,
        num_layers=3, num_heads=3, feedforward_channels=48, window_size=4,
        global_attn_indexes=(2,), drop_path_rate=0.1,
        init_cfg=dict(type='Pretrained', checkpoint='missing.pth')),
    roi_head=dict(bbox_head=[dict(num_classes=3)]),
    test_cfg=dict(
        rpn=dict(max_per_img=40),
        rcnn=dict(
            max_per_img=20,
            nms=dict(type='soft_nms', iou_threshold=0.2, min_score=1e-3))))
"""


@pytest.fixture(autouse=True)
def modules(monkeypatch):
    """Lets tests import what the tool imports, and multiply small matrices."""
    monkeypatch.syspath_prepend(ROOT / 'tools' / 'analysis_tools')
    from benchmarks import measure

    monkeypatch.setattr(measure, 'MATMUL_SHAPE', (8, 8, 8))


@pytest.fixture
def benchmark(run_tool, tmp_path, capsys):
    """Runs the tool with two repeats; returns its output and its JSON."""

    def run(config, *args):
        folder = tmp_path / 'results'
        run_tool(
            *('analysis_tools/benchmark', config),
            *('--repeats', '2', '--work-dir', folder, *args),
        )
        printed = capsys.readouterr()
        (path,) = folder.iterdir()
        assert printed.out.splitlines()[-1] == f'results: {path}'
        assert 'ETA' in printed.err
        return printed.out, json.loads(path.read_text())

    return run


@pytest.fixture
def config(tmp_path):
    path = tmp_path / 'tiny.py'
    path.write_text(CONFIG)
    return path


@pytest.fixture
def rows():
    """Returns the rows of the printed table as dicts."""

    def parse(printed):
        cells = [
            [cell.strip() for cell in line.strip('|').split('|')]
            for line in printed.splitlines()
            if line.startswith('|')
        ]
        return [dict(zip(cells[0], row, strict=True)) for row in cells[2:]]

    return parse


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
def test_a_detector(benchmark, write_config, rows, dtype):
    printed, results = benchmark(
        write_config(), '--dtype', dtype, '--batch-size', 3, '--device', 'cpu'
    )
    data, train, inference = results['results']
    assert data['input'] == '3 images, real'
    assert train['input'] == inference['input'] == '3 x 64 x 64, real'
    assert train['flops'] > inference['flops'] > data['flops'] == 0
    assert data['matmul_flops_per_second'] == []
    for row in (data, train, inference):
        assert len(row['seconds']) == 2
        assert row['images'] == 3
    for row in (train, inference):
        assert row['peak_memory_bytes'] > 0
        assert len(row['share_of_matmul']) == 2
    assert results['dtype'] == dtype
    assert results['machine']['threads'] == torch.get_num_threads()
    table = rows(printed)
    assert [row['case'] for row in table] == [
        *('data loading', 'training step', 'inference')
    ]
    for row in table:
        assert float(row['peak memory, MB']) >= 0
        assert float(row['images/s']) > 0
    assert table[1]['dtype'] == dtype
    assert f'threads {torch.get_num_threads()}' in printed
    assert torch.__version__ in printed


def test_drawn_pictures_where_there_are_no_data(
    benchmark, write_config, tmp_path
):
    config = write_config(data=tmp_path / 'nowhere')
    _, results = benchmark(config, '--batch-size', 1)
    inputs = [row['input'] for row in results['results']]
    assert inputs == [
        '1 images, synthetic',
        '1 x 480 x 640, synthetic',
        '1 x 64 x 64, synthetic',
    ]


def test_every_comparison_is_tested():
    from benchmarks.comparisons import COMPARISONS as known

    assert sorted(known) == sorted(COMPARISONS + ELSEWHERE)


@pytest.mark.parametrize('name', COMPARISONS)
def test_comparisons(benchmark, config, rows, name):
    printed, results = benchmark(config, '--compare', name)
    assert len(results['results']) == 2
    for row in results['results']:
        assert len(row['seconds']) == 2
        assert row['peak_memory_bytes'] >= 0
        multiplies = name in ('backbone', 'window_padding')
        assert (row['flops'] > 0) == multiplies
    for row in rows(printed):
        assert float(row['peak memory, MB']) >= 0


def test_several_at_once(benchmark, write_config, config):
    path = write_config(CONFIG.replace('model =', 'unused ='))
    args = ('--what', 'data', '--compare', 'window_padding')
    with pytest.raises(SystemExit, match='BEiT3ViT'):
        benchmark(path, *args)
    args = ('--compare', 'window_padding', 'soft_nms')
    _, results = benchmark(config, *args)
    assert len(results['results']) == 4


def add_to_window_attention(monkeypatch, value):
    from benchmarks import plain

    original = plain.window_attention
    monkeypatch.setattr(
        plain, 'window_attention', lambda *args: original(*args) + value
    )


def forget_the_biases(monkeypatch, value):
    original = TokenMap.split
    monkeypatch.setattr(
        TokenMap, 'split', lambda self, x, fill: original(self, x, 0 * fill)
    )


def add_to_scores(monkeypatch, value):
    from benchmarks import plain

    original = plain.soft_nms

    def changed(*args, **kwargs):
        dets, keep = original(*args, **kwargs)
        return dets + value * torch.eye(5)[4], keep

    monkeypatch.setattr(plain, 'soft_nms', changed)


def swap_indices(monkeypatch, value):
    from benchmarks import plain

    original = plain.nms_by_class

    def changed(*args):
        boxes, scores, keep = original(*args)
        return boxes, scores, keep.flip(0)

    monkeypatch.setattr(plain, 'nms_by_class', changed)


@pytest.mark.parametrize(
    ('name', 'inject', 'value'),
    [
        ('backbone', add_to_window_attention, 0.01),
        ('backbone', add_to_window_attention, math.nan),
        ('backbone', forget_the_biases, None),
        ('window_padding', add_to_window_attention, 0.01),
        ('window_padding', forget_the_biases, None),
        ('soft_nms', add_to_scores, 0.01),
        ('soft_nms', swap_indices, None),
    ],
)
def test_ways_that_differ_are_not_timed(
    benchmark, config, monkeypatch, tmp_path, name, inject, value
):
    from benchmarks import measure

    monkeypatch.setattr(measure, '_time', None)
    inject(monkeypatch, value)
    with pytest.raises(SystemExit, match='do not compute the same'):
        benchmark(config, '--compare', name)
    assert not (tmp_path / 'results').exists()


def test_mmcv_is_the_rival_where_it_is_compiled(
    benchmark, config, monkeypatch
):
    from benchmarks import comparisons

    monkeypatch.setattr(comparisons, 'has_compiled_mmcv', lambda: True)
    _, results = benchmark(config, '--compare', 'soft_nms')
    assert 'compiled mmcv' in results['results'][1]['case']


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        (['--what', 'tea'], "'tea' (choose from"),
        (['--compare', 'tea'], 'backbone'),
        (['--dtype', 'int8'], 'bfloat16'),
        (['--repeats', '0'], '0 must be 1 or more'),
        (['--batch-size', 'x'], "'x'"),
    ],
)
def test_wrong_names(run_tool, capsys, config, args, message):
    with pytest.raises(SystemExit) as end:
        run_tool('analysis_tools/benchmark', config, *args)
    assert end.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ('text', 'args', 'message'),
    [
        ('', ['--what', 'data'], 'the config has no train_dataloader'),
        ('', ['--device', 'tea'], 'tea'),
        ('', ['--cfg-options', 'modle.x=1'], "did you mean 'model'"),
        (
            'del image_size',
            ['--compare', 'backbone'],
            'needs image_size',
        ),
        (
            "model['backbone']['type'] = 'mmdet.ResNet'",
            ['--compare', 'backbone'],
            "'mmdet.ResNet' must be beit3_mm.BEiT3ViT",
        ),
        (
            "model['backbone']['with_relative_positions'] = True",
            ['--compare', 'backbone'],
            'with_relative_positions=False',
        ),
        (
            "model['backbone']['window_size'] = 0",
            ['--compare', 'window_padding'],
            'needs model.backbone.window_size',
        ),
        (
            "model['test_cfg']['rcnn']['nms']['type'] = 'nms'",
            ['--compare', 'soft_nms'],
            'model.test_cfg.rcnn.nms',
        ),
        (
            'train_dataloader = dict(batch_size=1, dataset=dict('
            "type='mmengine.ConcatDataset', datasets=[]))",
            ['--what', 'data'],
            "'mmengine.ConcatDataset' has neither an ann_file",
        ),
    ],
)
def test_configs_that_do_not_fit(run_tool, config, text, args, message):
    config.write_text(f'{CONFIG}\n{text}\n')
    with pytest.raises(SystemExit) as end:
        run_tool('analysis_tools/benchmark', config, *args)
    assert str(end.value.code).startswith('error: ')
    assert message in end.value.code


def test_a_config_that_does_not_exist(run_tool):
    with pytest.raises(SystemExit, match=r'no config file nowhere\.py'):
        run_tool('analysis_tools/benchmark', 'nowhere.py')
