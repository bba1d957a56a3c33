# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Images and texts as vectors that are close where they belong together."""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

from beit3_mm.ops.gather import gather_rows
from beit3_mm.registry import MODELS

INIT_STD = 0.02  # unilm/beit3, modeling_utils.py
INIT_TEMPERATURE = 0.07  # CLIP (arXiv 2103.00020); BEiT-3 keeps it


@MODELS.register_module()
class ContrastiveHead(nn.Module):
    """Projects token 0 of images and of texts, and contrasts them.

    The loss is the mean of the cross-entropies of both directions among the
    pairs of all processes (CLIP, arXiv 2103.00020; BEiT-3, section 3.1). It
    is computed in the parameters' precision, also under autocast: bfloat16
    would round similarities, which the scale enlarges.

    Args:
        embed_dims: Channels of the tokens and of the embeddings.

    Example:
        >>> dict(type='beit3_mm.ContrastiveHead', embed_dims=768)
    """

    def __init__(self, embed_dims: int) -> None:
        super().__init__()
        self.vision_proj = nn.Linear(embed_dims, embed_dims, bias=False)
        self.language_proj = nn.Linear(embed_dims, embed_dims, bias=False)
        # One row, which can be sharded; in state dicts, as in the official
        # files, it has no dimension.
        self.logit_scale = nn.Parameter(
            torch.tensor([math.log(1 / INIT_TEMPERATURE)])
        )
        self.register_state_dict_post_hook(_without_dimension)
        self.register_load_state_dict_pre_hook(_with_dimension)
        for proj in (self.vision_proj, self.language_proj):
            nn.init.trunc_normal_(proj.weight, std=INIT_STD)

    def embed_image(self, tokens: Tensor) -> Tensor:
        """Maps the tokens of images `(B, L, C)`, CLS token first and after
        the final norm, to embeddings `(B, C)` of length 1.
        """
        return _embed(self.vision_proj, tokens)

    def embed_text(self, tokens: Tensor) -> Tensor:
        """Does the same with the tokens of texts, `<s>` first."""
        return _embed(self.language_proj, tokens)

    def similarity(self, rows: Tensor, columns: Tensor) -> Tensor:
        """Maps embeddings `(B, C)` and `(T, C)` to logits `(B, T)`: the
        cosines, scaled by `exp(logit_scale)`.
        """
        with torch.autocast(rows.device.type, enabled=False):
            return self.logit_scale.exp() * rows @ columns.T

    def loss(self, image: Tensor, text: Tensor) -> dict[str, Tensor]:
        """Contrasts each pair with the pairs of all processes.

        A process's loss is that of its own pairs; see `gather_rows` for why
        this is right under DDP.

        Args:
            image: Embeddings of images `(B, C)`.
            text: Embeddings of their texts `(B, C)`, in the same order.

        Returns:
            `loss`, a scalar.

        Raises:
            ValueError: If there are not as many images as texts, or if the
                processes have batches of different sizes.
        """
        if image.shape != text.shape:
            raise ValueError(
                f'{len(image)} images and {len(text)} texts are no pairs: in '
                'training a sample has one image and one text'
            )
        pairs, first = gather_rows(torch.stack([image, text], dim=1))
        images, texts = pairs.unbind(1)
        target = torch.arange(len(image), device=image.device) + first
        to_text = F.cross_entropy(self.similarity(image, texts), target)
        to_image = F.cross_entropy(self.similarity(text, images), target)
        return {'loss': (to_text + to_image) / 2}

    def predict(
        self,
        image: Tensor | None,
        text: Tensor | None,
        data_samples: Sequence[BaseDataElement],
    ) -> Sequence[BaseDataElement]:
        """Puts embeddings into the samples that they belong to.

        Args:
            image: `(B, C)`, or None without images.
            text: `(T, C)`, or None without texts; a sample has as many as
                its `num_texts` says, by default one.
            data_samples: B samples.

        Returns:
            The samples, with `image_embedding` (C,) and `text_embeddings`
            (k, C) where there are any.

        Raises:
            ValueError: If numbers of samples, images and texts do not fit.
        """
        if image is not None:
            _require_equal(len(image), 'images', len(data_samples), 'samples')
            for sample, embedding in zip(data_samples, image):
                sample.image_embedding = embedding
        if text is not None:
            counts = [sample.get('num_texts', 1) for sample in data_samples]
            _require_equal(len(text), 'texts', sum(counts), 'in the samples')
            for sample, embeddings in zip(data_samples, text.split(counts)):
                sample.text_embeddings = embeddings
        return data_samples


def _without_dimension(
    head: ContrastiveHead, state_dict: dict, prefix: str, *args: Any
) -> None:
    key = f'{prefix}logit_scale'
    state_dict[key] = state_dict[key].squeeze(0)


def _with_dimension(
    head: ContrastiveHead, state_dict: dict, prefix: str, *args: Any
) -> None:
    key = f'{prefix}logit_scale'
    if key in state_dict:
        state_dict[key] = state_dict[key].reshape(1)


def _embed(proj: nn.Linear, tokens: Tensor) -> Tensor:
    with torch.autocast(tokens.device.type, enabled=False):
        first = tokens[:, 0].to(proj.weight.dtype)
        return F.normalize(proj(first), dim=-1)


def _require_equal(ours: int, what: str, theirs: int, where: str) -> None:
    if ours != theirs:
        raise ValueError(f'{ours} {what} do not fit {theirs} {where}')
