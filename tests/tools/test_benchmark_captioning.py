# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Comparisons of tools/analysis_tools/benchmarks/captioning.py; nothing here
asserts a time.
"""

import json
from pathlib import Path

import captioners
import pytest
import torch

CONFIG = """
model = dict(
    type='beit3_mm.ImageToText',
    backbone=dict(
        img_size=32, patch_size=8, embed_dims=24, num_layers=3, num_heads=3,
        feedforward_channels=48, vocab_size=60, drop_path_rate=0.1),
    head=dict(type='beit3_mm.CaptionHead', embed_dims=24, vocab_size=60),
    beam_search=dict(num_beams=3, max_tokens=9, mask_id=59))
"""
PAPER_FORM = """
model['backbone'].update(
    multiway_attention=False, sub_norm=False, num_vl_layers=1)
"""
VL_EXPERTS = f"{PAPER_FORM}\nmodel['use_vl_experts'] = True\n"


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


@pytest.mark.parametrize(
    'form',
    ['', PAPER_FORM, VL_EXPERTS],
    ids=['released', 'paper', 'vl experts'],
)
@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
def test_an_image_for_all_beams_beside_one_for_each(benchmark, form, dtype):
    ours, official = benchmark('captioning', form, '--dtype', dtype)
    assert [ours['case'], official['case']] == [
        *('ImageToText', 'plain official way')
    ]
    for row in (ours, official):
        assert row['images'] == 2
        assert row['input'] == '2 x 32 x 32'
        assert row['dtype'] == dtype
        assert len(row['seconds']) == 2
    assert official['flops'] > 1.3 * ours['flops'] > 0


def test_bfloat16_beside_float32(benchmark):
    rows = benchmark('captioning_bf16')
    assert [row['dtype'] for row in rows] == ['bfloat16', 'float32']
    assert rows[0]['flops'] == rows[1]['flops']


@torch.no_grad()
def test_the_plain_search_agrees_with_the_official_one(golden):
    from benchmarks.plain_captioning import write_captions

    config, tensors = golden('beit3_tiny_captioning')
    options = dict(num_beams=3, max_tokens=12, length_penalty=0.6)
    model, inputs = captioners.official(config, tensors, options)
    captions = write_captions(model, inputs['image'])
    assert torch.equal(captions.ids, tensors['out/beam3_len12_lp0.6'])


@pytest.mark.parametrize('fault', ['ids', 'scores'])
def test_ways_that_differ_are_not_timed(benchmark, monkeypatch, fault):
    from benchmarks import captioning, measure

    write = captioning.write_captions

    def changed(*args):
        ids, scores = write(*args)
        return (ids + 1, scores) if fault == 'ids' else (ids, 1.01 * scores)

    monkeypatch.setattr(captioning, 'write_captions', changed)
    monkeypatch.setattr(measure, '_time', None)
    with pytest.raises(SystemExit, match='do not compute the same'):
        benchmark('captioning')


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ("model['type'] = 'mmdet.MaskRCNN'", 'must be beit3_mm.ImageToText'),
        ("del model['head']", 'needs model.head in the config'),
        ("del model['backbone']", 'needs model.backbone.img_size in the'),
        ('del model', 'needs model.type in the config'),
    ],
)
def test_configs_that_do_not_fit(benchmark, text, message):
    for name in ('captioning', 'captioning_bf16'):
        with pytest.raises(SystemExit) as end:
            benchmark(name, text)
        assert message in str(end.value.code)
