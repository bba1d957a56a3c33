# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Small models with weights by official names, for several tests."""

import torch

from beit3_mm.checkpoint import HEADS, key_table
from beit3_mm.registry import MODELS

ARCH = dict(
    img_size=32,
    patch_size=8,
    embed_dims=24,
    num_layers=2,
    num_heads=3,
    feedforward_channels=48,
)
WORDS, ANSWERS = 40, 7
TEXTS = dict(vocab_size=WORDS, max_text_positions=20)
HEAD_TYPES = {
    'retrieval': dict(type='beit3_mm.ContrastiveHead'),
    'vqa': dict(type='beit3_mm.VQAHead', num_answers=ANSWERS),
    'nlvr2': dict(type='beit3_mm.NLVR2Head'),
    'captioning': dict(type='beit3_mm.CaptionHead', vocab_size=WORDS),
}
MODEL_TYPES = dict(
    retrieval='DualEncoder',
    vqa='FusionEncoder',
    nlvr2='FusionEncoder',
    captioning='ImageToText',
)


def config(task, init_cfg=None, **arch):
    """Returns the config of a small model of ours."""
    backbone = dict(ARCH, **TEXTS) | arch
    if task == 'vqa':
        backbone['final_norm'] = False
    head = dict(HEAD_TYPES[task], embed_dims=backbone['embed_dims'])
    cfg = dict(
        type=f'beit3_mm.{MODEL_TYPES[task]}',
        backbone=backbone,
        head=head,
        init_cfg=init_cfg,
    )
    if task == 'captioning':
        cfg['beam_search'] = dict(mask_id=WORDS - 1, max_tokens=8)
    return cfg


def build(task, init_cfg=None, **arch):
    return MODELS.build(config(task, init_cfg, **arch))


def official(task, dtype=torch.float32, **arch):
    """Returns random weights of a task by official names; `None` and
    `pretraining` are tasks too.
    """
    generator = torch.Generator().manual_seed(0)
    arch = dict(ARCH) | arch
    like = build(task if task in HEAD_TYPES else 'captioning', **arch)
    shapes = {k: v.shape for k, v in like.state_dict().items()}
    shapes['head.visual.weight'] = (8192, arch['embed_dims'])
    shapes['head.visual.bias'] = (8192,)
    return {
        official: torch.randn(shapes[ours], generator=generator).to(dtype)
        for ours, official in key_table(arch['num_layers'], task).items()
    }


def head_names(task):
    """Returns our names of a head's weights."""
    leaves = ('weight', 'bias')
    return {x.format(leaf=leaf) for x in HEADS[task] for leaf in leaves}


def adapter_names(model):
    """Yields ours and ViT-Adapter's names of all that is not the ViT's."""
    for name in model.state_dict():
        if name.startswith('vit.'):
            continue
        their = name.replace('spatial_prior.', 'spm.')
        for i in range(4):
            their = their.replace(f'spm.convs.{i}.', f'spm.conv{i + 2}.')
            their = their.replace(f'spm.projs.{i}.', f'spm.fc{i + 1}.')
            their = their.replace(f'norms.{i}.', f'norm{i + 1}.')
        their = their.replace('extractors.0.', 'extractor.')
        their = their.replace('extractors.1.', 'extra_extractors.0.')
        their = their.replace('extractors.2.', 'extra_extractors.1.')
        their = their.replace('.attention.', '.')
        their = their.replace('ffn.norm.', 'ffn_norm.')
        their = their.replace('ffn.dwconv.', 'ffn.dwconv.dwconv.')
        yield name, their


def pretrained(path, **options):
    return dict(type='Pretrained', checkpoint=path, **options)
