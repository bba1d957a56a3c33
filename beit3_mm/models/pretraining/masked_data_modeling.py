# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Pretraining: masked words and patches of images, texts and pairs.

B batch, N patches, L text tokens, C channels, n masked positions.
"""

from collections.abc import Mapping, Sequence

import torch
from mmengine.model import BaseModel
from mmengine.structures import BaseDataElement
from torch import Tensor

from beit3_mm.models.beit3 import BEiT3
from beit3_mm.models.pretraining.frozen import WithFrozen
from beit3_mm.registry import MODELS

IMAGE, TEXT = ('image',), ('text_ids', 'text_mask')
NEEDED = {'image': IMAGE, 'text': TEXT, 'pair': (*IMAGE, *TEXT)}
Batch = Mapping[str, Tensor | None]


@MODELS.register_module()
class MaskedDataModeling(WithFrozen, BaseModel):
    """Recovers what is masked in images, texts and pairs (BEiT-3, section 2).

    A step has samples of some of the three kinds, and a pass of the encoder
    for each, as in the authors' training (microsoft/unilm#879): the lengths
    differ, and vision-language experts see pairs only. What a masked patch
    is to be recovered as, the visual tokenizer says: it is frozen, and
    neither a part of checkpoints nor a parameter of this model. Its weights
    are those that its `init_cfg` names. Samples that come with `visual_ids`
    need none.

    The loss is the sum of up to four means, of the masked patches and words
    of each kind; the paper names no weights.

    Args:
        backbone: Arguments of `BEiT3`.
        head: Config of a `MaskedModelingHead`.
        visual_tokenizer: Config of a model whose `encode_ids` maps images
            (B, 3, h, w) in [0, 1] to ids (B, N), such as `VQKD`.
        mask_pair_images: Whether the images of pairs are masked too and their
            patches recovered. Otherwise the text alone is, from the whole
            image. The paper says that 50% of the text of pairs and 40% of the
            patches of images are masked, and not whether the latter holds for
            pairs.
        data_preprocessor: Config of the data preprocessor.
        init_cfg: Config of the initialisation.

    Raises:
        ValueError: If the parts do not fit each other, a visual tokenizer has
            no `init_cfg`, or, in use, inputs are missing or do not fit.

    Example:
        >>> dict(
        ...     type='beit3_mm.MaskedDataModeling',
        ...     backbone=dict(
        ...         img_size=32,
        ...         patch_size=16,
        ...         embed_dims=48,
        ...         num_layers=2,
        ...         num_heads=3,
        ...         feedforward_channels=96,
        ...     ),
        ...     head=dict(
        ...         type='beit3_mm.MaskedModelingHead',
        ...         embed_dims=48,
        ...         vocab_size=64010,
        ...     ),
        ... )
    """

    def __init__(
        self,
        backbone: dict,
        head: dict,
        visual_tokenizer: dict | None = None,
        mask_pair_images: bool = True,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(data_preprocessor, init_cfg)
        self.backbone = BEiT3(**backbone)
        self.head = MODELS.build(head)
        self.mask_pair_images = mask_pair_images
        if visual_tokenizer is not None:
            _check_source(visual_tokenizer)
            self._freeze(MODELS.build(visual_tokenizer))
        _check_vocabulary(self)

    @property
    def visual_tokenizer(self) -> torch.nn.Module | None:
        """The frozen visual tokenizer, where there is one."""
        return self._frozen[0] if self._frozen else None

    def init_weights(self) -> None:
        """Initialises the model, and loads the visual tokenizer."""
        super().init_weights()
        self._load_tokenizer()

    def _load_tokenizer(self) -> None:
        tokenizer = self.visual_tokenizer
        if tokenizer is not None and not tokenizer.is_init:
            tokenizer.init_weights()

    def forward(
        self,
        inputs: Mapping[str, Batch],
        data_samples: Mapping[str, Sequence[BaseDataElement]] | None = None,
        mode: str = 'tensor',
    ) -> dict[str, Tensor] | list[BaseDataElement]:
        """Predicts what is masked, or computes losses.

        Args:
            inputs: For some of the kinds `image`, `text` and `pair` a batch.
                Images: `image` (B, 3, H, W); `image_mask` (B, N), True =
                masked; for a loss `visual_ids` (B, N), or `tokenizer_image`
                (B, 3, h, w) in [0, 1]. Texts: `text_ids` (B, L), with masked
                ids; `text_padding_mask` (B, L), True = padding, or None;
                `text_mask` (B, L), True = to be predicted; for a loss
                `target_ids` (B, L), unmasked. Pairs: both.
            data_samples: For each kind B samples, for predictions.
            mode: 'tensor', 'loss' or 'predict'.

        Returns:
            Logits `(n, V)` by part (`image`, `text`, `pair_image`,
            `pair_text`), positions in the order of the rows; losses and
            accuracies by name; or all samples, with `pred_visual_ids` (N,)
            and `pred_text_ids` (L,), -1 where nothing was masked.
        """
        if mode == 'tensor':
            return self.head(self.masked_tokens(inputs))
        if mode == 'loss':
            # The targets first: what finding them needs is freed before the
            # encoder keeps its activations.
            targets = self.target_ids(inputs)
            return self.head.loss(self.masked_tokens(inputs), targets)
        if mode == 'predict':
            return self.predict(inputs, data_samples)
        raise ValueError(f"{mode=} must be 'tensor', 'loss' or 'predict'")

    def masks(self, inputs: Mapping[str, Batch]) -> dict[str, Tensor]:
        """Returns for each part what is masked, `(B, N)` or `(B, L)`."""
        _check_inputs(inputs)
        masks = {}
        for kind, batch in inputs.items():
            image, text = _parts(kind)
            if image and (kind == 'image' or self.mask_pair_images):
                _require(kind, batch, 'image_mask')
                masks[image] = batch['image_mask']
            if text:
                masks[text] = batch['text_mask']
        return masks

    def masked_tokens(self, inputs: Mapping[str, Batch]) -> dict[str, Tensor]:
        """Returns for each part the tokens `(n, C)` of what is masked."""
        masks, tokens = self.masks(inputs), {}
        for kind, batch in inputs.items():
            image, text = _parts(kind)
            output = self.backbone(
                batch['image'] if image else None,
                batch['text_ids'] if text else None,
                batch.get('text_padding_mask'),
                masks.get(image),
            )
            if image in masks:  # behind the CLS token
                tokens[image] = output.vision[:, 1:][masks[image]]
            if text in masks:
                tokens[text] = output.language[masks[text]]
        return tokens

    def target_ids(self, inputs: Mapping[str, Batch]) -> dict[str, Tensor]:
        """Returns for each part the ids `(n,)` that are to be found."""
        masks, targets = self.masks(inputs), {}
        for kind, batch in inputs.items():
            image, text = _parts(kind)
            if image in masks:
                ids = self.visual_ids(kind, batch)
                targets[image] = ids[masks[image]]
            if text in masks:
                _require(kind, batch, 'target_ids')
                targets[text] = batch['target_ids'][masks[text]]
        return targets

    @torch.no_grad()
    def visual_ids(self, kind: str, batch: Batch) -> Tensor:
        """Returns the visual tokens `(B, N)` of a batch's images, given ones
        or the visual tokenizer's.
        """
        ids = batch.get('visual_ids')
        if ids is None:
            _require_source(self, kind, batch)
            self._load_tokenizer()
            ids = self.visual_tokenizer.encode_ids(batch['tokenizer_image'])
        expected = tuple(batch['image_mask'].shape)
        if tuple(ids.shape) != expected:
            raise ValueError(
                f'visual tokens of shape {tuple(ids.shape)} do not fit '
                f'{expected} (batch, patches) of {kind}: the grid of the '
                "visual tokenizer's view must be that of the patches; for "
                '224 pixels at patch 14, 256 pixels at patch 16'
            )
        return ids

    def predict(
        self,
        inputs: Mapping[str, Batch],
        data_samples: Mapping[str, Sequence[BaseDataElement]] | None,
    ) -> list[BaseDataElement]:
        """Sets the likeliest ids of what is masked in each sample."""
        if data_samples is None:
            raise ValueError("mode='predict' needs data_samples")
        masks = self.masks(inputs)
        logits = self.head(self.masked_tokens(inputs))
        samples = []
        for kind in inputs:
            for part, field in zip(
                _parts(kind), ('pred_visual_ids', 'pred_text_ids')
            ):
                if part not in masks:
                    continue
                ids = torch.full_like(masks[part], -1, dtype=torch.int64)
                ids[masks[part]] = logits[part].argmax(1)
                for sample, row in zip(data_samples[kind], ids, strict=True):
                    sample.set_field(row, field)
            samples += data_samples[kind]
        return samples


def _parts(kind: str) -> tuple[str | None, str | None]:
    """Returns the names of a kind's image part and text part."""
    if kind == 'pair':
        return 'pair_image', 'pair_text'
    return ('image', None) if kind == 'image' else (None, 'text')


def _check_source(config: dict) -> None:
    if not config.get('init_cfg'):
        raise ValueError(
            f'visual_tokenizer {config["type"]} has no init_cfg: the codes of '
            "random weights mean nothing. Set init_cfg=dict(type='Pretrained',"
            ' checkpoint=FILE), or leave it out if the data has visual_ids'
        )


def _check_vocabulary(model: MaskedDataModeling) -> None:
    num_words = model.backbone.text_embedding.words.num_embeddings
    num_ids = model.head.lm.out_features
    if num_words != num_ids:
        raise ValueError(
            f'the backbone has vocab_size={num_words}, the head '
            f'vocab_size={num_ids}: what is predicted must be readable'
        )
    known = model.head.visual.out_features
    num_codes = getattr(model.visual_tokenizer, 'num_codes', known)
    if num_codes != known:
        raise ValueError(
            f'the visual tokenizer has num_codes={num_codes}, the head '
            f'num_visual_codes={known}: they must be equal'
        )


def _check_inputs(inputs: Mapping[str, Batch]) -> None:
    unknown = set(inputs) - set(NEEDED)
    if unknown or not inputs:
        raise ValueError(
            f'inputs of {sorted(inputs)} must be of some of {list(NEEDED)}: '
            'beit3_mm.collate_kinds sorts samples so'
        )
    for kind, batch in inputs.items():
        _require(kind, batch, *NEEDED[kind])


def _require(kind: str, batch: Batch, *names: str) -> None:
    missing = [name for name in names if batch.get(name) is None]
    if missing:
        hint = (
            '; mask_pair_images=False leaves them whole'
            if kind == 'pair' and missing == ['image_mask']
            else ''
        )
        raise ValueError(
            f'inputs of {kind} need {missing} as well; they hold '
            f'{sorted(batch)}{hint}'
        )


def _require_source(
    model: MaskedDataModeling, kind: str, batch: Batch
) -> None:
    if model.visual_tokenizer is None:
        raise ValueError(
            f'inputs of {kind} have no visual_ids, and the model no '
            'visual_tokenizer to find them: set it, or read ids that '
            'tools/dataset_converters/visual_tokens.py has written'
        )
    _require(kind, batch, 'tokenizer_image')
