# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Makes a batch of images, texts and pairs for masked data modeling."""

from collections.abc import Sequence

import torch
from mmengine.model import BaseDataPreprocessor
from torch import Tensor

from beit3_mm.models.multimodal.data_preprocessor import (
    MultimodalDataPreprocessor,
    transpose_inputs,
)
from beit3_mm.registry import MODELS

STACKED = ('image_mask', 'tokenizer_image', 'visual_ids')


@MODELS.register_module()
class MaskedModelingDataPreprocessor(BaseDataPreprocessor):
    """Makes one batch of each kind of sample: images, texts, pairs.

    Each kind is treated as `MultimodalDataPreprocessor` treats a batch, so
    that the texts of pairs are not padded to the length of other texts. The
    visual tokenizer's view of an image is not normalised: it stays in [0, 1].

    Args:
        mean: As in `MultimodalDataPreprocessor`.
        std: Likewise.
        bgr_to_rgb: Likewise; of the tokenizer's view too.
        pad_token_id: Likewise.

    Example:
        >>> dict(
        ...     type='beit3_mm.MaskedModelingDataPreprocessor',
        ...     mean=[127.5, 127.5, 127.5],
        ...     std=[127.5, 127.5, 127.5],
        ... )
    """

    def __init__(
        self,
        mean: Sequence[float],
        std: Sequence[float],
        bgr_to_rgb: bool = True,
        pad_token_id: int = 1,
    ) -> None:
        super().__init__()
        self.bgr_to_rgb = bgr_to_rgb
        self.multimodal = MultimodalDataPreprocessor(
            mean, std, bgr_to_rgb, pad_token_id
        )

    def forward(self, data: dict, training: bool = False) -> dict:
        """Returns `dict(inputs=..., data_samples=...)` on the model's device.

        Args:
            data: `inputs`, a dict from the kind of sample to what
                `MultimodalDataPreprocessor` takes, with these as well:
                `image_mask` (N,), bool; `tokenizer_image` (3, h, w), uint8;
                `visual_ids` (N,), int64. `data_samples`, a dict from the kind
                to a list, or None.
            training: Not used.

        Returns:
            Of each kind what `MultimodalDataPreprocessor` makes of it, with
            `image_mask` (B, N), bool; `tokenizer_image` (B, 3, h, w), float32
            in [0, 1], RGB; `visual_ids` (B, N), int64.

        Raises:
            ValueError: As in `MultimodalDataPreprocessor`, or if samples of a
                kind have such inputs of different shapes.
        """
        self.multimodal.to(self.device)
        samples = data.get('data_samples') or {}
        batch = {
            kind: self._batch(kind, inputs, samples.get(kind))
            for kind, inputs in data['inputs'].items()
        }
        return dict(
            inputs={kind: x['inputs'] for kind, x in batch.items()},
            data_samples={
                kind: batch[kind]['data_samples'] for kind in samples
            }
            or None,
        )

    def _batch(
        self, kind: str, inputs: dict | list[dict], samples: list | None
    ) -> dict:
        """Makes the batch of one kind."""
        inputs = transpose_inputs(inputs)
        stacked = {
            key: self._stack(kind, key, inputs.pop(key))
            for key in STACKED
            if key in inputs
        }
        batch = self.multimodal(dict(inputs=inputs, data_samples=samples))
        if 'tokenizer_image' in stacked:
            stacked['tokenizer_image'] = self._unit(stacked['tokenizer_image'])
        batch['inputs'] |= stacked
        return batch

    def _stack(self, kind: str, key: str, items: list[Tensor]) -> Tensor:
        if len(shapes := {tuple(item.shape) for item in items}) > 1:
            raise ValueError(
                f'{key} of shapes {sorted(shapes)} in one batch of {kind}: '
                'the pipeline must make all of one shape'
            )
        return self.cast_data(torch.stack(items))

    def _unit(self, image: Tensor) -> Tensor:
        """Maps uint8 images `(B, 3, h, w)` to RGB in [0, 1]."""
        return (image.flip(1) if self.bgr_to_rgb else image).float() / 255
