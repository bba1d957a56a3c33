# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Pretraining from files to a checkpoint, by the recipe and the tools."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import visual_tokenizers
from mmengine.config import Config
from mmengine.registry import MODELS
from PIL import Image
from tiny_tasks import ENCODER

RECIPE = Path(__file__).parents[2] / 'configs/pretrain/beit3_mdm.py'
KINDS = ('image', 'text', 'pair')
WORDS = ['the', 'red', 'circle', 'is', 'above', 'the', 'blue', 'square']
CONFIG = """
_base_ = {recipe!r}
data = {data!r}
spm = {tokenizer_file!r}
sizes = {{
    'beit3_mm.TwoViews': dict(img_size=32, tokenizer_img_size=32),
    'beit3_mm.BlockMask': dict(patch_size=8, min_patches=2),
    'beit3_mm.PackText': dict(model_file=spm, max_tokens=16),
    'beit3_mm.TokenizeText': dict(model_file=spm, max_tokens=12),
    'beit3_mm.MaskText': dict(model_file=spm),
}}
images, texts, pairs = [
    [dict(step, **sizes.get(step.type, {{}})) for step in pipeline]
    for pipeline in (
        _base_.image_pipeline, _base_.text_pipeline, _base_.pair_pipeline)
]
model = dict(
    backbone={encoder!r},
    head=dict(embed_dims=24, vocab_size=40, num_visual_codes=24),
    visual_tokenizer=dict(_delete_=True, **{tokenizer!r}))
model['backbone'].update(drop_path_rate=0.0)
train_dataloader = dict(
    batch_size=6, num_workers=1,
    dataset=dict(dataset=dict(datasets=dict(
        image=dict(data_root=data + '/images', pipeline=images),
        text=dict(
            data_root=data, files='texts/*.txt', bytes_per_sample=60,
            pipeline=texts),
        pair=[dict(
            type='beit3_mm.PairListDataset', data_root=data,
            ann_file='pairs.tsv', pipeline=pairs)]))))
train_cfg = dict(max_iters=6)
warm_up, cosine = _base_.param_scheduler
param_scheduler = [dict(warm_up, end=2), dict(cosine, begin=2)]
default_hooks = dict(
    logger=dict(interval=1), checkpoint=dict(interval=3, max_keep_ckpts=9))
env_cfg = dict(dist_cfg=dict(backend='gloo'))
auto_scale_lr = dict(base_batch_size=6)
"""


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """Writes images, texts and pairs, and a visual tokenizer."""
    folder = tmp_path_factory.mktemp('corpora')
    rng = np.random.default_rng(0)
    lines = []
    for i in range(7):
        path = folder / 'images' / f'class{i % 2}' / f'{i}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (40, 50, 3), np.uint8)
        Image.fromarray(pixels).save(path)
        words = ' '.join(rng.permutation(WORDS)[: 3 + i % 4])
        lines.append(f'{path.relative_to(folder)}\t{words}\n')
    (folder / 'pairs.tsv').write_text(''.join(lines))
    (folder / 'texts').mkdir()
    for i in range(2):
        text = [' '.join(rng.permutation(WORDS)) for _ in range(20)]
        (folder / 'texts' / f'{i}.txt').write_text('\n'.join(text))
    torch.manual_seed(0)
    tokenizer = visual_tokenizers.build()
    tokenizer.quantizer.start(tokenizer.vectors(torch.rand(9, 3, 32, 32)))
    torch.save(
        {'state_dict': tokenizer.state_dict()}, folder / 'tokenizer.pth'
    )
    return folder


@pytest.fixture
def config(data, tokenizer_file, tmp_path):
    """Writes a config of the recipe with everything small."""
    tokenizer = visual_tokenizers.config(
        num_decoder_layers=0,
        init_cfg=visual_tokenizers.pretrained(data / 'tokenizer.pth'),
    )
    path = tmp_path / 'tiny_mdm.py'
    path.write_text(
        CONFIG.format(
            recipe=str(RECIPE),
            data=str(data),
            tokenizer_file=str(tokenizer_file),
            encoder=ENCODER,
            tokenizer=tokenizer,
        )
    )
    return path


def weights(path):
    return torch.load(path, weights_only=True)['state_dict']


def scalars(work_dir):
    """Returns what was logged, by the iteration."""
    found = {}
    for log in sorted(work_dir.glob('*/vis_data/scalars.json')):
        for line in log.read_text().splitlines():
            row = json.loads(line)
            found[row['step']] = row
    return found


def test_a_run_learns_resumes_and_shows_its_guesses(
    config, run_tool, tmp_path, capsys
):
    whole, cut = tmp_path / 'whole', tmp_path / 'cut'
    run_tool('train', config, '--work-dir', whole)
    logged = scalars(whole)
    assert sorted(logged) == [1, 2, 3, 4, 5, 6]
    parts = ('image', 'text', 'pair_image', 'pair_text')
    for row in logged.values():
        losses = [row[f'loss_{part}'] for part in parts]
        assert math.isclose(row['loss'], sum(losses), rel_tol=1e-3)
        assert all(0 <= row[f'acc_{part}'] <= 1 for part in parts)
        assert row['grad_norm'] > 0
    # It begins where nothing is known.
    assert math.isclose(logged[1]['loss_image'], math.log(24), rel_tol=0.1)
    assert math.isclose(logged[1]['loss_text'], math.log(40), rel_tol=0.1)
    end = weights(whole / 'iter_6.pth')
    model = MODELS.build(Config.fromfile(config).model)
    assert set(end) == set(model.state_dict())
    assert not [name for name in end if 'tokenizer' in name]

    # A run that was killed after three steps goes on as if it had not been.
    cut.mkdir()
    (cut / 'iter_3.pth').write_bytes((whole / 'iter_3.pth').read_bytes())
    run_tool('train', config, '--work-dir', cut, '--resume')
    resumed = scalars(cut)
    assert sorted(resumed) == [4, 5, 6]
    for step, row in resumed.items():
        for part in parts:
            key = f'loss_{part}'
            assert math.isclose(row[key], logged[step][key], rel_tol=1e-4)
    for name, value in weights(cut / 'iter_6.pth').items():
        torch.testing.assert_close(value, end[name], rtol=1e-4, atol=1e-6)

    capsys.readouterr()
    pictures = tmp_path / 'pictures'
    run_tool(
        *('analysis_tools/masked_pictures', config, whole / 'iter_6.pth'),
        *('--out-dir', pictures, '--num', 2, '--mean-of', 2),
    )
    names = {path.name for path in pictures.glob('*.png')}
    assert names == {f'{kind}_{i}.png' for kind in KINDS for i in range(2)}
    assert f'pictures: {pictures}' in capsys.readouterr().out


def test_a_run_without_a_tokenizer_ends_at_once(config, run_tool, tmp_path):
    with pytest.raises(SystemExit, match='no checkpoint file gone'):
        run_tool(
            *('train', config, '--work-dir', tmp_path, '--cfg-options'),
            'model.visual_tokenizer.init_cfg.checkpoint=gone.pth',
        )
