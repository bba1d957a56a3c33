# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Images alone and texts alone as embeddings, in chunks where asked for.

B images, T texts, L tokens, D channels of an embedding.
"""

import torch
from torch import Tensor

from beit3_mm.layers.recompute import recompute
from beit3_mm.models.beit3 import BEiT3
from beit3_mm.models.heads.contrastive import ContrastiveHead


def build_backbone(arguments: dict) -> BEiT3:
    """Builds an encoder for images alone and texts alone.

    The mask token and the vision-language experts, which then have nothing to
    do, are frozen: DDP waits for a gradient of whatever is not.

    Args:
        arguments: Of `BEiT3`.
    """
    backbone = BEiT3(**arguments)
    backbone.vision_embedding.mask_token.requires_grad_(False)
    for layer in backbone.encoder.layers:
        if 'vision_language' in layer.ffn:
            layer.ffn['vision_language'].requires_grad_(False)
    return backbone


def check_chunk_size(chunk_size: int | None) -> int | None:
    """Returns the size, if there can be such chunks.

    Raises:
        ValueError: If it is less than 1.
    """
    if chunk_size is not None and chunk_size < 1:
        raise ValueError(f'{chunk_size=} must be 1 or more, or None')
    return chunk_size


def embed_images(
    backbone: BEiT3,
    head: ContrastiveHead,
    image: Tensor,
    chunk_size: int | None = None,
) -> Tensor:
    """Embeds images.

    With chunks, only their embeddings are kept for the backward pass, which
    encodes one chunk after the other again with the same random numbers. The
    gradient is that of the whole batch, in the memory of a chunk: gradient
    caching (GradCache, arXiv 2101.06983) as activation checkpointing, so
    that a loss over all embeddings needs one backward pass, also under DDP.

    Args:
        backbone: The encoder.
        head: Projects its tokens.
        image: `(B, 3, H, W)`.
        chunk_size: Images of a chunk; None keeps everything.

    Returns:
        `(B, D)`.
    """

    def embed(chunk: Tensor) -> Tensor:
        return head.embed_image(
            backbone(image=chunk, first_tokens=True).vision
        )

    with_chunks = chunk_size is not None
    chunks = image.split(chunk_size or len(image))
    return torch.cat([recompute(with_chunks, embed, x) for x in chunks])


def embed_texts(
    backbone: BEiT3,
    head: ContrastiveHead,
    text_ids: Tensor,
    text_padding_mask: Tensor | None = None,
    chunk_size: int | None = None,
) -> Tensor:
    """Embeds texts, chunks of similar length padded to their own longest.

    Chunks are recomputed in the backward pass as those of `embed_images`.

    Args:
        backbone: The encoder.
        head: Projects its tokens.
        text_ids: `(T, L)` int64.
        text_padding_mask: `(T, L)` bool, True = padding, on the right.
        chunk_size: Texts of a chunk; None keeps everything.

    Returns:
        `(T, D)` in the order of `text_ids`.
    """

    def embed(ids: Tensor, padding: Tensor | None) -> Tensor:
        output = backbone(
            text_ids=ids, text_padding_mask=padding, first_tokens=True
        )
        return head.embed_text(output.language)

    if text_padding_mask is None:
        text_padding_mask = torch.zeros_like(text_ids, dtype=torch.bool)
    lengths = (~text_padding_mask).sum(1).cpu()
    # The longest come first, so that memory runs out at once or never.
    order = lengths.argsort(descending=True, stable=True)
    chunks = []
    for index in order.split(chunk_size or len(order)):
        longest, shortest = lengths[index[0]], lengths[index[-1]]
        padding = text_padding_mask[index, :longest]
        chunks.append(
            recompute(
                chunk_size is not None,
                embed,
                text_ids[index, :longest],
                padding if shortest < longest else None,
            )
        )
    return torch.cat(chunks)[order.argsort()]
