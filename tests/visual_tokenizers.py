# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Small visual tokenizers, for several tests."""

import torch
from mmengine.registry import MODELS

ARCH = dict(
    img_size=32,
    patch_size=8,
    embed_dims=32,
    num_layers=2,
    num_heads=4,
    feedforward_channels=128,
)
SIZES = dict(num_decoder_layers=1, teacher_dims=20, num_codes=24, code_dims=8)
OFFICIAL = 'weights/'


def config(**options):
    """Returns the config of a tokenizer of golden/vqkd.npz's size."""
    return dict(type='beit3_mm.VQKD', **ARCH) | SIZES | options


def build(**options):
    torch.manual_seed(0)
    return MODELS.build(config(**options))


def official(tensors):
    """Returns the official weights among golden tensors."""
    return {
        name.removeprefix(OFFICIAL): value
        for name, value in tensors.items()
        if name.startswith(OFFICIAL)
    }


def pretrained(path):
    return dict(type='Pretrained', checkpoint=str(path))


def save(path, tensors):
    """Writes a file as the official ones are."""
    torch.save({'model': official(tensors), 'epoch': 99}, path)
    return path
