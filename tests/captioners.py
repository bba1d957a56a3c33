# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Small captioners with inputs, for several tests."""

import torch

from beit3_mm.engine.loading import load_weights
from beit3_mm.models.heads import CaptionHead
from beit3_mm.models.multimodal import ImageToText

NUM_WORDS, MASK_ID, EOS_ID = 40, 39, 2
SIZES = (
    *('img_size', 'patch_size', 'embed_dims', 'num_layers', 'num_heads'),
    *('feedforward_channels', 'vocab_size', 'max_text_positions'),
)
LENGTHS = (5, 9, 3)


def build(arch, search=None, **options):
    """Returns a captioner in training mode, all of whose parameters count."""
    torch.manual_seed(0)
    model = ImageToText(
        dict(arch, vocab_size=NUM_WORDS, max_text_positions=21),
        dict(
            type=CaptionHead,
            embed_dims=arch['embed_dims'],
            vocab_size=NUM_WORDS,
        ),
        dict(mask_id=MASK_ID) | (search or {}),
        **options,
    )
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def official(config, tensors, search=None):
    """Returns the captioner of a golden file and its inputs."""
    num_words = config['vocab_size']
    model = ImageToText(
        {key: config[key] for key in SIZES},
        dict(
            type='beit3_mm.CaptionHead',
            embed_dims=config['embed_dims'],
            vocab_size=num_words,
        ),
        dict(mask_id=num_words - 1) | (search or {}),
    )
    weights = {
        name.removeprefix('weights/'): value
        for name, value in tensors.items()
        if name.startswith('weights/')
    }
    assert load_weights(model, weights, 'golden').complete
    inputs = dict(
        image=tensors['image'],
        text_ids=tensors['masked_text_ids'],
        text_padding_mask=tensors['text_padding_mask'],
        text_mask=tensors['text_masked_position'].bool(),
        target_ids=tensors['text_ids'],
    )
    return model.eval(), inputs


def images(number=3, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(number, 3, 32, 32, generator=generator)


def batch():
    """Returns inputs of three captions of different lengths."""
    generator = torch.Generator().manual_seed(2)
    shape = len(LENGTHS), max(LENGTHS)
    padding = torch.arange(shape[1]) >= torch.tensor(LENGTHS)[:, None]
    target_ids = torch.randint(3, MASK_ID, shape, generator=generator)
    target_ids.masked_fill_(padding, 1)
    text_mask = torch.rand(shape, generator=generator) < 0.6
    text_mask[:, 0] = False
    text_mask[:, 1] = True
    text_mask &= ~padding
    return dict(
        image=images(),
        text_ids=target_ids.masked_fill(text_mask, MASK_ID),
        text_padding_mask=padding,
        text_mask=text_mask,
        target_ids=target_ids,
    )
