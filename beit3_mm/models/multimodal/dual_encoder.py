# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Retrieval: images and texts are encoded apart and compared."""

from collections.abc import Sequence
from typing import NamedTuple

from mmengine.model import BaseModel
from mmengine.structures import BaseDataElement
from torch import Tensor

from beit3_mm.models.multimodal.embedding import (
    build_backbone,
    check_chunk_size,
    embed_images,
    embed_texts,
)
from beit3_mm.registry import MODELS

# Texts that are padded to a common length where no chunk_size is given
TEXTS_OF_A_GROUP = 32


class Embeddings(NamedTuple):
    """Embeddings of length 1; None for what was not given.

    Args:
        image: `(B, D)`.
        text: `(T, D)`.
    """

    image: Tensor | None
    text: Tensor | None


@MODELS.register_module()
class DualEncoder(BaseModel):
    """Embeds images and texts, each in a pass of its own.

    For retrieval (BEiT-3, section 3.1) and for the contrastive stage before
    it (Appendix A). A prediction encodes each image and each text once.

    Args:
        backbone: Arguments of `BEiT3`.
        head: Config of a `ContrastiveHead`.
        chunk_size: Samples that are encoded at a time, and encoded again in
            the backward pass (`embed_images`): batches of any size in the
            memory of one chunk, for one more forward pass. None encodes all
            at once, which is faster where it fits.
        data_preprocessor: Config of the data preprocessor.
        init_cfg: Config of the initialisation.

    Raises:
        ValueError: If `chunk_size` is less than 1, an input is missing, or
            numbers of images, texts and samples do not fit each other.

    Example:
        >>> dict(
        ...     type='beit3_mm.DualEncoder',
        ...     backbone=dict(
        ...         img_size=32,
        ...         patch_size=16,
        ...         embed_dims=48,
        ...         num_layers=2,
        ...         num_heads=3,
        ...         feedforward_channels=96,
        ...     ),
        ...     head=dict(type='beit3_mm.ContrastiveHead', embed_dims=48),
        ...     chunk_size=64,
        ... )
    """

    def __init__(
        self,
        backbone: dict,
        head: dict,
        chunk_size: int | None = None,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(data_preprocessor, init_cfg)
        self.backbone = build_backbone(backbone)
        self.head = MODELS.build(head)
        self.chunk_size = check_chunk_size(chunk_size)

    def forward(
        self,
        inputs: dict[str, Tensor | None],
        data_samples: Sequence[BaseDataElement] | None = None,
        mode: str = 'tensor',
    ) -> Embeddings | dict[str, Tensor] | Sequence[BaseDataElement]:
        """Embeds, or computes a loss or predictions.

        Args:
            inputs: `image` (B, 3, H, W), `text_ids` (T, L) and
                `text_padding_mask` (T, L), True = padding on the right, or
                None. Outside of training either modality may be absent, and
                a sample may have any number of texts, one after the other.
            data_samples: B samples, for predictions.
            mode: 'tensor', 'loss' or 'predict'.

        Returns:
            The embeddings; `dict(loss=...)`; or the samples with
            `image_embedding` (D,) and `text_embeddings` (k, D).
        """
        if mode == 'tensor':
            return self.embed(inputs, self.chunk_size)
        if mode == 'loss':
            return self.loss(inputs)
        if mode == 'predict':
            return self.predict(inputs, data_samples)
        raise ValueError(f"{mode=} must be 'tensor', 'loss' or 'predict'")

    def embed(
        self,
        inputs: dict[str, Tensor | None],
        text_chunk_size: int | None = None,
    ) -> Embeddings:
        """Embeds the images and the texts that there are.

        Args:
            inputs: As in `forward`.
            text_chunk_size: Texts that are encoded at a time.
        """
        image, text_ids = inputs.get('image'), inputs.get('text_ids')
        if image is None and text_ids is None:
            raise ValueError('give an image, text_ids or both')
        parts, text = (self.backbone, self.head), None
        if image is not None:
            image = embed_images(*parts, image, self.chunk_size)
        if text_ids is not None:
            padding = inputs.get('text_padding_mask')
            text = embed_texts(*parts, text_ids, padding, text_chunk_size)
        return Embeddings(image, text)

    def loss(self, inputs: dict[str, Tensor | None]) -> dict[str, Tensor]:
        """Returns the contrastive loss of pairs of an image and a text."""
        missing = [k for k in ('image', 'text_ids') if inputs.get(k) is None]
        if missing:
            raise ValueError(f'the contrastive loss needs {missing} as well')
        return self.head.loss(*self.embed(inputs, self.chunk_size))

    def predict(
        self,
        inputs: dict[str, Tensor | None],
        data_samples: Sequence[BaseDataElement] | None,
    ) -> Sequence[BaseDataElement]:
        """Sets the embeddings of each sample."""
        if data_samples is None:
            raise ValueError("mode='predict' needs data_samples")
        size = self.chunk_size or TEXTS_OF_A_GROUP
        return self.head.predict(*self.embed(inputs, size), data_samples)
