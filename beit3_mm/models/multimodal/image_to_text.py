# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Captioning: a text is generated from an image."""

from collections.abc import Sequence

from mmengine.logging import MessageHub
from mmengine.model import BaseModel
from mmengine.structures import BaseDataElement
from torch import Tensor

from beit3_mm.layers.embeddings import POSITION_OFFSET
from beit3_mm.layers.masks import image_to_text_mask
from beit3_mm.models.beit3 import BEiT3
from beit3_mm.models.heads.caption import CaptionHead
from beit3_mm.models.multimodal.beam_search import BeamSearch
from beit3_mm.models.multimodal.fusion_encoder import freeze_unused
from beit3_mm.registry import MODELS


@MODELS.register_module()
class ImageToText(BaseModel):
    """Learns masked words of captions, and writes captions.

    Image tokens see only the image; a word sees the image, the words left of
    it and itself (BEiT-3, section 3.1).

    In the paper's form, it is open which experts captioning uses in the top
    layers, as the paper is silent: vision-language experts were pretrained on
    pairs whose images see the text. By default there are none, and those of a
    checkpoint stay unused.

    Args:
        backbone: Arguments of `BEiT3`.
        head: Config of a `CaptionHead`.
        beam_search: Arguments of `BeamSearch`.
        use_vl_experts: Whether the backbone's `num_vl_layers` counts, so that
            vision-language experts take the tokens of both modalities there.
        data_preprocessor: Config of the data preprocessor.
        init_cfg: Config of the initialisation.

    Raises:
        ValueError: If backbone, head and beam search do not fit each other,
            or inputs or samples are missing.

    Example:
        >>> dict(
        ...     type='beit3_mm.ImageToText',
        ...     backbone=dict(
        ...         img_size=32,
        ...         patch_size=16,
        ...         embed_dims=48,
        ...         num_layers=2,
        ...         num_heads=3,
        ...         feedforward_channels=96,
        ...     ),
        ...     head=dict(
        ...         type='beit3_mm.CaptionHead',
        ...         embed_dims=48,
        ...         vocab_size=64010,
        ...     ),
        ...     beam_search=dict(num_beams=3, max_tokens=20),
        ... )
    """

    def __init__(
        self,
        backbone: dict,
        head: dict,
        beam_search: dict | None = None,
        use_vl_experts: bool = False,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(data_preprocessor, init_cfg)
        if not use_vl_experts:
            backbone = {**backbone, 'num_vl_layers': 0}
        self.backbone = BEiT3(**backbone)
        self.head = MODELS.build(head)
        self.beam_search = BeamSearch(**(beam_search or {}))
        freeze_unused(self.backbone)
        _check_vocabulary(self.backbone, self.head, self.beam_search)
        _check_length(self.backbone, self.beam_search)

    def forward(
        self,
        inputs: dict[str, Tensor | None],
        data_samples: Sequence[BaseDataElement] | None = None,
        mode: str = 'tensor',
    ) -> Tensor | dict[str, Tensor] | Sequence[BaseDataElement]:
        """Predicts masked words, or computes a loss or captions.

        Args:
            inputs: `image` (B, 3, H, W); for captions nothing else is read.
                `text_ids` (B, L), with masked ids; `text_padding_mask`
                (B, L), True = padding, or None; `text_mask` (B, L), True = to
                be predicted; for a loss `target_ids` (B, L), unmasked.
            data_samples: B samples, for captions.
            mode: 'tensor', 'loss' or 'predict'.

        Returns:
            Logits (n, V) of the n ids to be predicted, in the order of the
            rows; `dict(loss=...)`; or the samples with `pred_ids` (T,).
        """
        if mode == 'tensor':
            return self.head(self.masked_tokens(inputs))
        if mode == 'loss':
            return self.loss(inputs)
        if mode == 'predict':
            return self.predict(inputs, data_samples)
        raise ValueError(f"{mode=} must be 'tensor', 'loss' or 'predict'")

    def masked_tokens(self, inputs: dict[str, Tensor | None]) -> Tensor:
        """Returns the tokens `(n, C)` of the ids to be predicted."""
        _require(inputs, 'image', 'text_ids', 'text_mask')
        image, text_ids = inputs['image'], inputs['text_ids']
        height, width = self.backbone.vision_embedding.grid(image)
        output = self.backbone(
            image,
            text_ids,
            inputs.get('text_padding_mask'),
            attn_mask=image_to_text_mask(
                1 + height * width, text_ids.shape[1], text_ids.device
            ),
        )
        return output.language[inputs['text_mask']]

    def loss(self, inputs: dict[str, Tensor | None]) -> dict[str, Tensor]:
        """Returns the head's loss, at the iteration of mmengine's runner."""
        _require(inputs, 'target_ids')
        tokens = self.masked_tokens(inputs)
        hub = MessageHub.get_current_instance()
        return self.head.loss(
            tokens,
            inputs['target_ids'][inputs['text_mask']],
            iteration=hub.get_info('iter', 0),
        )

    def predict(
        self,
        inputs: dict[str, Tensor | None],
        data_samples: Sequence[BaseDataElement] | None,
    ) -> Sequence[BaseDataElement]:
        """Sets the caption of each sample."""
        if data_samples is None:
            raise ValueError("mode='predict' needs data_samples")
        _require(inputs, 'image')
        captions = self.beam_search(self.backbone, self.head, inputs['image'])
        return self.head.predict(captions.ids, data_samples)


def _require(inputs: dict[str, Tensor | None], *names: str) -> None:
    missing = [name for name in names if inputs.get(name) is None]
    if missing:
        raise ValueError(
            f'captioning needs {missing} as well; the inputs hold '
            f'{sorted(inputs)}'
        )


def _check_vocabulary(
    backbone: BEiT3, head: CaptionHead, search: BeamSearch
) -> None:
    num_words = backbone.text_embedding.words.num_embeddings
    num_ids = head.lm.out_features
    if num_words != num_ids:
        raise ValueError(
            f'the backbone has vocab_size={num_words}, the head '
            f'vocab_size={num_ids}: what is predicted must be readable'
        )
    for name in ('bos_id', 'pad_id', 'eos_id', 'mask_id'):
        if not 0 <= getattr(search, name) < num_words:
            raise ValueError(
                f'beam_search.{name}={getattr(search, name)} is no id of '
                f'vocab_size={num_words}'
            )


def _check_length(backbone: BEiT3, search: BeamSearch) -> None:
    table = backbone.text_embedding.positions.num_embeddings
    # </s> closes a caption and is never read.
    longest = table - POSITION_OFFSET + 1
    if search.max_tokens > longest:
        raise ValueError(
            f'beam_search.max_tokens={search.max_tokens} is more than the '
            f'{longest} that max_text_positions={table} allows'
        )
