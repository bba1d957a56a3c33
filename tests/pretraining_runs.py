# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Corpora of a few files, and pretraining on them by the recipe."""

import json
from pathlib import Path

import numpy as np
import torch
import visual_tokenizers
from PIL import Image
from tiny_tasks import ENCODER

RECIPE = Path(__file__).parents[1] / 'configs/pretrain/beit3_mdm.py'
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


def write_data(folder):
    """Writes images, texts and pairs, and a visual tokenizer."""
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


def write_config(path, data, tokenizer_file):
    """Writes a config of the recipe with everything small."""
    tokenizer = visual_tokenizers.config(
        num_decoder_layers=0,
        init_cfg=visual_tokenizers.pretrained(data / 'tokenizer.pth'),
    )
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


def scalars(work_dir):
    """Returns what was logged, by the iteration."""
    found = {}
    for log in sorted(work_dir.glob('*/vis_data/scalars.json')):
        for line in log.read_text().splitlines():
            row = json.loads(line)
            found[row['step']] = row
    return found
