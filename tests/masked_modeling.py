# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Small models and batches of masked data modeling, for several tests."""

import torch
from mmengine.model import BaseModule
from torch import nn

from beit3_mm.registry import MODELS

NUM_WORDS, MASK_ID, NUM_CODES = 40, 39, 12
KINDS = ('image', 'text', 'pair')
SIZE, GRID = 3, 4  # samples of a kind; patches of a side
VIEW = 64  # pixels of the tokenizer's view, at patch 16
TEXTS = dict(text=(7, 12, 9), pair=(5, 3, 6))  # lengths


@MODELS.register_module(force=True)
class StubTokenizer(BaseModule):
    """Tells bright patches of 16 pixels from dark ones."""

    def __init__(self, init_cfg=None):
        super().__init__(init_cfg)
        self.scale = nn.Parameter(torch.tensor(0.0))
        self.dropout = nn.Dropout(0.5)

    def init_weights(self):
        self._is_init = True
        self.scale.data.fill_(NUM_CODES)

    def encode_ids(self, image):
        x = nn.functional.avg_pool2d(image.mean(1, keepdim=True), 16)
        ids = (self.dropout(x) * self.scale).long().clamp(max=NUM_CODES - 1)
        return ids.flatten(1)


STUB = dict(type='beit3_mm.StubTokenizer', init_cfg=dict(type='Pretrained'))


def config(arch, **options):
    """Returns the config of a model."""
    return dict(
        type='beit3_mm.MaskedDataModeling',
        backbone=dict(arch, vocab_size=NUM_WORDS, max_text_positions=21),
        head=dict(
            type='beit3_mm.MaskedModelingHead',
            embed_dims=arch['embed_dims'],
            vocab_size=NUM_WORDS,
            num_visual_codes=NUM_CODES,
        ),
        **options,
    )


def build(arch, **options):
    """Returns a model in training mode, all of whose parameters count."""
    torch.manual_seed(0)
    model = MODELS.build(config(arch, **options))
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    return model


def images(generator, views=False):
    """Returns a batch of images; with ids, or else the tokenizer's view."""
    mask = torch.zeros(SIZE, GRID * GRID, dtype=torch.bool)
    for row in mask:
        row[torch.randperm(len(row), generator=generator)[:6]] = True
    inputs = dict(
        image=torch.randn(SIZE, 3, 32, 32, generator=generator),
        image_mask=mask,
    )
    if views:
        shape = SIZE, 3, VIEW, VIEW
        return dict(
            inputs, tokenizer_image=torch.rand(shape, generator=generator)
        )
    ids = torch.randint(NUM_CODES, mask.shape, generator=generator)
    return dict(inputs, visual_ids=ids)


def texts(generator, lengths):
    """Returns a batch of texts with masked words."""
    shape = len(lengths), max(lengths)
    padding = torch.arange(shape[1]) >= torch.tensor(lengths)[:, None]
    target_ids = torch.randint(3, MASK_ID, shape, generator=generator)
    target_ids.masked_fill_(padding, 1)
    text_mask = torch.rand(shape, generator=generator) < 0.5
    text_mask[:, 0] = False
    text_mask[:, 1] = True
    text_mask &= ~padding
    return dict(
        text_ids=target_ids.masked_fill(text_mask, MASK_ID),
        text_padding_mask=padding,
        target_ids=target_ids,
        text_mask=text_mask,
    )


def batch(kinds=KINDS, views=False):
    """Returns a batch with samples of each kind."""
    generator = torch.Generator().manual_seed(2)
    image = images(generator, views)
    text = texts(generator, TEXTS['text'])
    pair = images(generator, views) | texts(generator, TEXTS['pair'])
    whole = dict(image=image, text=text, pair=pair)
    return {kind: whole[kind] for kind in kinds}


def total(losses):
    """What mmengine trains on."""
    return sum(value for name, value in losses.items() if 'loss' in name)
