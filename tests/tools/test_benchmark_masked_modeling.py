# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Comparisons of tools/analysis_tools/benchmarks/masked_modeling.py; nothing
here asserts a time.
"""

import json
from pathlib import Path

import pytest

COMPARISONS = ('masked_modeling', 'masked_modeling_bf16')
CONFIG = """
text_tokens, pair_tokens = 40, 30
train_dataloader = dict(batch_size=9)
model = dict(
    type='beit3_mm.MaskedDataModeling',
    backbone=dict(
        img_size=32, patch_size=8, embed_dims=24, num_layers=3, num_heads=3,
        feedforward_channels=48, vocab_size=600, drop_path_rate=0.1),
    head=dict(
        type='beit3_mm.MaskedModelingHead', embed_dims=24, vocab_size=600,
        num_visual_codes=90),
    visual_tokenizer=dict(type='beit3_mm.VQKD'))
"""
PAPER_FORM = """
model['backbone'].update(
    multiway_attention=False, sub_norm=False, num_vl_layers=1)
"""
RECOMPUTED = "model['backbone'].update(with_cp=True)"


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
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        run_tool(
            *('analysis_tools/benchmark', config, '--compare', name),
            *('--repeats', '2', '--work-dir', folder, *args),
        )
        (path,) = folder.iterdir()
        return json.loads(path.read_text())['results']

    return run


@pytest.mark.parametrize('form', ['', PAPER_FORM], ids=['released', 'paper'])
@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
def test_masked_tokens_beside_all_of_them(benchmark, form, dtype):
    ours, plain = benchmark('masked_modeling', form, '--dtype', dtype)
    assert [ours['case'], plain['case']] == ['MaskedDataModeling', 'plain way']
    for row in (ours, plain):
        assert row['images'] == 9
        assert row['input'] == (
            '3 images of 32 x 32, 3 texts of 40, 3 pairs with 10 to 20 '
            '(plain: 30) tokens'
        )
        assert row['dtype'] == dtype
        assert len(row['seconds']) == 2
    assert plain['flops'] > 1.4 * ours['flops'] > 0


def test_bfloat16_beside_float32(benchmark):
    rows = benchmark('masked_modeling_bf16')
    assert [row['dtype'] for row in rows] == ['bfloat16', 'float32']
    assert rows[0]['flops'] == rows[1]['flops']


def test_recomputing_layers_is_work_of_ours_alone(benchmark):
    ours, plain = benchmark('masked_modeling')
    again, as_plain = benchmark('masked_modeling', RECOMPUTED)
    assert again['flops'] > 1.2 * ours['flops']
    assert as_plain['flops'] == plain['flops']


@pytest.mark.parametrize('fault', ['loss', 'gradient'])
def test_ways_that_differ_are_not_timed(benchmark, monkeypatch, fault):
    from benchmarks import measure, plain_masked_modeling

    plain = plain_masked_modeling.losses

    def changed(*args):
        losses = plain(*args)
        loss = losses['loss_text']
        other = loss * 1.01 if fault == 'loss' else 2 * loss - loss.detach()
        return dict(losses, loss_text=other)

    monkeypatch.setattr(plain_masked_modeling, 'losses', changed)
    monkeypatch.setattr(measure, '_time', None)
    with pytest.raises(SystemExit, match='do not compute the same'):
        benchmark('masked_modeling')


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ("model['type'] = 'mmdet.MaskRCNN'", 'must be beit3_mm.MaskedDataMod'),
        ("del model['head']", 'needs model.head'),
        ("del model['backbone']", 'needs model.backbone.img_size in the'),
        ('del text_tokens', 'needs text_tokens in the config'),
        ("train_dataloader['batch_size'] = 8", 'size=8 must divide by 3'),
    ],
)
def test_configs_that_do_not_fit(benchmark, text, message):
    for name in COMPARISONS:
        with pytest.raises(SystemExit) as end:
            benchmark(name, text)
        assert message in str(end.value.code)
