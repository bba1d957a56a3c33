# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""A small dual encoder with inputs and gradients, for several tests."""

import torch

from beit3_mm.models.heads import ContrastiveHead
from beit3_mm.models.multimodal import DualEncoder

SIZE, NUM_WORDS = 6, 50
LENGTHS = (4, 9, 3, 6, 6, 9)


def build(arch, chunk_size=None, drop_path_rate=0.0, dtype=torch.float32):
    torch.manual_seed(0)
    model = DualEncoder(
        dict(
            arch,
            vocab_size=NUM_WORDS,
            max_text_positions=20,
            drop_path_rate=drop_path_rate,
        ),
        dict(type=ContrastiveHead, embed_dims=arch['embed_dims']),
        chunk_size,
    )
    for name, parameter in model.named_parameters():
        if name != 'head.logit_scale':
            torch.nn.init.normal_(parameter, std=0.2)
    return model.to(dtype).train()


def texts(*lengths):
    """Returns ids and the padding mask of texts of these lengths."""
    generator = torch.Generator().manual_seed(len(lengths))
    shape = len(lengths), max(lengths)
    ids = torch.randint(3, NUM_WORDS, shape, generator=generator)
    padding = torch.arange(shape[1]) >= torch.tensor(lengths)[:, None]
    return dict(
        text_ids=ids.masked_fill(padding, 1), text_padding_mask=padding
    )


def batch(dtype=torch.float32):
    torch.manual_seed(1)
    image = torch.randn(SIZE, 3, 32, 32, dtype=dtype)
    return dict(image=image, **texts(*LENGTHS))


def gradients(model, inputs, seed=2):
    """Returns the loss and each trained parameter's gradient."""
    model.zero_grad()
    torch.manual_seed(seed)
    loss = model(inputs, mode='loss')['loss']
    loss.backward()
    return loss.detach(), {
        name: parameter.grad
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }


def assert_equal(actual, expected):
    torch.testing.assert_close(actual, expected, rtol=1e-6, atol=1e-6)
