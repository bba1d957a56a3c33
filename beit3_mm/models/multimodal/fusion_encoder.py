# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""VQA and NLVR2: an image and a text are encoded together."""

from collections.abc import Sequence

from mmengine.model import BaseModel
from mmengine.structures import BaseDataElement
from torch import Tensor

from beit3_mm.models.beit3 import BEiT3, BEiT3Output
from beit3_mm.registry import MODELS


@MODELS.register_module()
class FusionEncoder(BaseModel):
    """Fuses images with texts and hands the tokens to a head.

    BEiT-3 as fusion encoder (section 3.1). Where a text belongs to several
    images, each of them is fused with it in a pass of its own; the passes
    run as one batch.

    What has no part in this is frozen, since DDP waits for a gradient of
    whatever is not: the mask token, and the vision and language experts of
    layers whose vision-language expert takes all tokens.

    Args:
        backbone: Arguments of `BEiT3`.
        head: Config of a head, `VQAHead` or `NLVR2Head`.
        data_preprocessor: Config of the data preprocessor.
        init_cfg: Config of the initialisation.

    Example:
        >>> dict(
        ...     type='beit3_mm.FusionEncoder',
        ...     backbone=dict(
        ...         img_size=32,
        ...         patch_size=16,
        ...         embed_dims=48,
        ...         num_layers=2,
        ...         num_heads=3,
        ...         feedforward_channels=96,
        ...         final_norm=False,
        ...     ),
        ...     head=dict(
        ...         type='beit3_mm.VQAHead', embed_dims=48, num_answers=3129
        ...     ),
        ... )
    """

    def __init__(
        self,
        backbone: dict,
        head: dict,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(data_preprocessor, init_cfg)
        self.backbone = BEiT3(**backbone)
        self.head = MODELS.build(head)
        freeze_unused(self.backbone)

    def forward(
        self,
        inputs: dict[str, Tensor | None],
        data_samples: Sequence[BaseDataElement] | None = None,
        mode: str = 'tensor',
    ) -> Tensor | dict[str, Tensor] | Sequence[BaseDataElement]:
        """Computes logits, a loss or predictions.

        Args:
            inputs: As in `extract_feat`.
            data_samples: B samples, for a loss or predictions.
            mode: 'tensor', 'loss' or 'predict'.

        Returns:
            The head's logits (B, K), its losses, or the samples with its
            predictions.

        Raises:
            ValueError: If the mode is unknown, samples or an input are
                missing, or inputs do not fit each other.
        """
        if mode not in ('tensor', 'loss', 'predict'):
            raise ValueError(f"{mode=} must be 'tensor', 'loss' or 'predict'")
        if mode != 'tensor' and data_samples is None:
            raise ValueError(f'{mode=} needs data_samples')
        # The heads look at nothing else.
        fused = self.extract_feat(inputs, first_tokens=True)
        if mode == 'tensor':
            return self.head(fused.vision, fused.language)
        if mode == 'loss':
            return self.head.loss(fused.vision, fused.language, data_samples)
        return self.head.predict(fused.vision, fused.language, data_samples)

    def extract_feat(
        self, inputs: dict[str, Tensor | None], first_tokens: bool = False
    ) -> BEiT3Output:
        """Fuses each image with its text.

        Args:
            inputs: `image` (B, 3, H, W), or (B, K, 3, H, W) for K images per
                text; `text_ids` (B, L); `text_padding_mask` (B, L), True =
                padding, or None.
            first_tokens: Returns only the first token of each modality.

        Returns:
            `vision` (B, 1 + N, C) and `language` (B, L, C), or
            (B, K, 1 + N, C) and (B, K, L, C); of first tokens, 1 + N and L
            are 1.

        Raises:
            ValueError: If an input is missing, or inputs do not fit each
                other.
        """
        _check_inputs(inputs)
        image, text_ids = inputs['image'], inputs['text_ids']
        padding = inputs.get('text_padding_mask')
        if image.ndim == 4:
            return self.backbone(
                image, text_ids, padding, first_tokens=first_tokens
            )
        grid = image.shape[:2]  # batch, images per text
        if padding is not None:
            padding = padding.repeat_interleave(grid[1], dim=0)
        fused = self.backbone(
            image.flatten(0, 1),
            text_ids.repeat_interleave(grid[1], dim=0),
            padding,
            first_tokens=first_tokens,
        )
        return BEiT3Output(
            vision=fused.vision.unflatten(0, grid),
            language=fused.language.unflatten(0, grid),
        )


def _check_inputs(inputs: dict[str, Tensor | None]) -> None:
    missing = [k for k in ('image', 'text_ids') if inputs.get(k) is None]
    if missing:
        raise ValueError(
            f'a fusion encoder needs {missing} as well: it encodes an image '
            'and a text together'
        )
    image, text_ids = inputs['image'], inputs['text_ids']
    if image.ndim not in (4, 5):
        raise ValueError(
            f'image of shape {tuple(image.shape)} must be (B, 3, H, W), or '
            '(B, K, 3, H, W) for K images per text'
        )
    if len(image) != len(text_ids):
        raise ValueError(
            f'{len(image)} samples of images do not fit {len(text_ids)} '
            'texts: a sample has one text'
        )


def freeze_unused(backbone: BEiT3) -> None:
    """Freezes what has no part in encoding an image together with a text."""
    backbone.vision_embedding.mask_token.requires_grad_(False)
    for layer in backbone.encoder.layers:
        if 'vision_language' in layer.ffn:
            layer.ffn['vision'].requires_grad_(False)
            layer.ffn['language'].requires_grad_(False)
