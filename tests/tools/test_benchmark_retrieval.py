# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Comparisons of tools/analysis_tools/benchmarks/retrieval.py; nothing here
asserts a time.
"""

import json
from pathlib import Path

import pytest
import torch

COMPARISONS = ('retrieval_encoding', 'retrieval_bf16')
CONFIG = """
model = dict(
    type='beit3_mm.DualEncoder',
    backbone=dict(
        img_size=32, patch_size=8, embed_dims=24, num_layers=3, num_heads=3,
        feedforward_channels=48, vocab_size=60, drop_path_rate=0.1),
    head=dict(type='beit3_mm.ContrastiveHead', embed_dims=24),
    chunk_size=4)
"""
PAPER_FORM = """
model['backbone'].update(
    multiway_attention=False, sub_norm=False, num_vl_layers=1)
"""


@pytest.fixture(autouse=True)
def modules(monkeypatch):
    """Lets tests import what the tool imports, and multiply small matrices."""
    tools = Path(__file__).parents[2] / 'tools' / 'analysis_tools'
    monkeypatch.syspath_prepend(tools)
    from benchmarks import measure

    monkeypatch.setattr(measure, 'MATMUL_SHAPE', (8, 8, 8))


@pytest.fixture
def benchmark(run_tool, tmp_path):
    """Runs a comparison with two repeats; returns the results' rows."""

    def run(name, text='', *args):
        config = tmp_path / 'tiny.py'
        config.write_text(CONFIG + text)
        folder = tmp_path / 'results'
        run_tool(
            *('analysis_tools/benchmark', config, '--compare', name),
            *('--repeats', '2', '--work-dir', folder, *args),
        )
        (path,) = folder.iterdir()
        return json.loads(path.read_text())['results']

    return run


@pytest.mark.parametrize('form', ['', PAPER_FORM], ids=['released', 'paper'])
@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
def test_encoding_once_beside_the_official_way(benchmark, form, dtype):
    ours, official = benchmark('retrieval_encoding', form, '--dtype', dtype)
    assert [ours['case'], official['case']] == [
        *('DualEncoder', 'plain official way')
    ]
    for row in (ours, official):
        assert row['images'] == 2
        assert row['input'] == '2 x 32 x 32, 10 captions'
        assert row['dtype'] == dtype
        assert len(row['seconds']) == 2
    # 2 x 17 tokens and up to 10 x 20, beside 10 x (17 + 64)
    assert official['flops'] > 3 * ours['flops'] > 0


def test_bfloat16_beside_float32(benchmark):
    rows = benchmark('retrieval_bf16')
    assert [row['dtype'] for row in rows] == ['bfloat16', 'float32']
    assert rows[0]['flops'] == rows[1]['flops']


@pytest.mark.parametrize('fault', ['padding', 'scale', 'order'])
def test_ways_that_differ_are_not_timed(benchmark, monkeypatch, fault):
    from benchmarks import measure, plain

    attend, embed = plain.softmax_attention, plain.dual_encoder
    if fault == 'padding':
        monkeypatch.setattr(
            plain, 'softmax_attention', lambda *args: attend(*args[:3], None)
        )
    elif fault == 'scale':
        monkeypatch.setattr(
            plain, 'softmax_attention', lambda *args: 1.01 * attend(*args)
        )
    else:
        monkeypatch.setattr(
            plain, 'dual_encoder', lambda *args: embed(*args)[::-1]
        )
    monkeypatch.setattr(measure, '_time', None)
    with pytest.raises(SystemExit, match='do not compute the same'):
        benchmark('retrieval_encoding')


def test_captions_of_any_length_are_compared(monkeypatch):
    from benchmarks import retrieval
    from benchmarks.measure import Setting
    from mmengine.config import Config

    cfg = Config.fromstring(CONFIG, '.py')
    setting = Setting(torch.device('cpu'), torch.float32)
    inputs, _ = retrieval._inputs(cfg, setting)
    lengths = (~inputs['text_padding_mask']).sum(1)
    assert len(set(lengths.tolist())) > 3
    assert (lengths >= 10).all() and (lengths <= 20).all()
    assert inputs['text_ids'].max() < 60


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ("model['type'] = 'mmdet.MaskRCNN'", 'must be beit3_mm.DualEncoder'),
        ("del model['head']", 'needs model.head in the config'),
        ('del model', 'needs model.type in the config'),
    ],
)
def test_configs_that_do_not_fit(benchmark, text, message):
    for name in COMPARISONS:
        with pytest.raises(SystemExit) as end:
            benchmark(name, text)
        assert message in str(end.value.code)
