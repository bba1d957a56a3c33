# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Attention masks: bool, True = may attend."""

import torch
from torch import Tensor


def joint_attention_mask(
    text_padding_mask: Tensor | None,
    num_before: int,
    attn_mask: Tensor | None = None,
) -> Tensor | None:
    """Joins the padding of the text with a mask of the user's.

    Nothing is built when nothing is masked, so that attention can take its
    fastest path.

    Args:
        text_padding_mask: `(B, L)`, True = padding; padded tokens are hidden
            as keys.
        num_before: Number of tokens in front of the text (vision and cached
            ones), all visible.
        attn_mask: `(L, S)` or `(B, L, S)`, True = may attend.

    Returns:
        A mask that broadcasts to `(B, heads, L, S)`, or None.
    """
    mask = None
    if attn_mask is not None:
        mask = attn_mask[None, None] if attn_mask.ndim == 2 else None
        mask = attn_mask[:, None] if mask is None else mask
    if text_padding_mask is None:
        return mask
    visible = torch.nn.functional.pad(
        ~text_padding_mask, (num_before, 0), value=True
    )[:, None, None, :]
    return visible if mask is None else mask & visible


def image_to_text_mask(
    num_vision: int, num_language: int, device: torch.device | None = None
) -> Tensor:
    """Returns the mask of image-to-text generation, `(L, L)`.

    Vision tokens see vision tokens; a text token sees all vision tokens, the
    text left of it and itself (BEiT-3, section 3.1; UniLM, arXiv 1905.03197).
    """
    total = num_vision + num_language
    mask = torch.ones(total, total, dtype=torch.bool, device=device).tril()
    mask[:num_vision, :num_vision] = True
    return mask
