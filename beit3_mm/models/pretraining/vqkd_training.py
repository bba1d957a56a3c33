# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Trains a visual tokenizer to say what a frozen teacher says of patches.

B batch, h, w height and width in patches, N = h * w, T the channels of the
teacher.
"""

import logging
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from mmengine.logging import print_log
from mmengine.model import BaseModel
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

from beit3_mm.models.pretraining.frozen import WithFrozen
from beit3_mm.registry import MODELS


@MODELS.register_module()
class VQKDTraining(WithFrozen, BaseModel):
    """Distils a teacher into a visual tokenizer (BEiT v2, arXiv 2208.06366).

    The loss is the cosine distance of what is decoded from the codes to the
    teacher's tokens of the patches, and the commitment of the vectors to
    their codes. The codebook learns by running means, in `Quantizer`.

    The teacher is frozen and no part of checkpoints. It is built when a
    training begins: a test needs none.

    Args:
        tokenizer: Config of a `VQKD` with a decoder.
        teacher: Config of any module that maps images (B, 3, H, W) to tokens
            of its patches, (B, N, T), with or without a CLS token in front,
            or to a map (B, T, h, w); of several outputs the first counts. So
            a backbone of mmpretrain does, `mmpretrain.CLIPGenerator` and
            `HandcraftedTeacher`. It must have weights by its `init_cfg` or
            load them itself.
        teacher_mean: Of the three channels, RGB, of values from 0 to 255, as
            the teacher needs them.
        teacher_std: Likewise.
        teacher_size: Side in pixels of the teacher's view of an image, as
            many patches of its own as the tokenizer's; by default the
            tokenizer's view.
        data_preprocessor: Config of the data preprocessor; it must leave the
            images in [0, 1], RGB.
        init_cfg: Config of the initialisation.

    Raises:
        ValueError: If the tokenizer has no decoder, or, in use, the teacher's
            tokens do not fit, or images are not in [0, 1].

    Example:
        >>> dict(
        ...     type='beit3_mm.VQKDTraining',
        ...     tokenizer=dict(
        ...         type='beit3_mm.VQKD',
        ...         img_size=32,
        ...         patch_size=16,
        ...         embed_dims=48,
        ...         num_layers=2,
        ...         num_heads=3,
        ...         feedforward_channels=96,
        ...         num_decoder_layers=1,
        ...         teacher_dims=39,
        ...     ),
        ...     teacher=dict(type='beit3_mm.HandcraftedTeacher'),
        ... )
    """

    def __init__(
        self,
        tokenizer: dict,
        teacher: dict,
        teacher_mean: Sequence[float] = (0.0, 0.0, 0.0),
        teacher_std: Sequence[float] = (255.0, 255.0, 255.0),
        teacher_size: int | None = None,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(data_preprocessor, init_cfg)
        self.tokenizer = MODELS.build(tokenizer)
        if self.tokenizer.decoder is None:
            raise ValueError(
                f'a tokenizer of num_decoder_layers='
                f'{tokenizer.get("num_decoder_layers", 0)} cannot be trained: '
                'set 1 or more'
            )
        self.teacher_cfg = teacher
        self.teacher_mean = tuple(teacher_mean)
        self.teacher_std = tuple(teacher_std)
        self.teacher_size = teacher_size

    def load_teacher(self) -> nn.Module:
        """Returns the frozen teacher, built and loaded at the first call."""
        if not self._frozen:
            teacher = MODELS.build(self.teacher_cfg)
            if hasattr(teacher, 'init_weights'):
                teacher.init_weights()
            _warn_of_noise(teacher, self.teacher_cfg)
            teacher.to(next(self.parameters()).device)
            self._freeze(teacher)
        return self._frozen[0]

    def init_weights(self) -> None:
        """Initialises the tokenizer, and loads the teacher."""
        super().init_weights()
        self.load_teacher()

    def forward(
        self,
        inputs: Mapping[str, Tensor],
        data_samples: Sequence[BaseDataElement] | None = None,
        mode: str = 'tensor',
    ) -> dict[str, Tensor] | Tensor | Sequence[BaseDataElement]:
        """Computes losses, or finds visual tokens.

        Args:
            inputs: `image` (B, 3, H, W) in [0, 1], RGB.
            data_samples: B samples, for predictions.
            mode: 'tensor', 'loss' or 'predict'.

        Returns:
            Ids `(B, N)`; losses and what is to be known of the codebook, by
            name; or the samples, with `pred_visual_ids` (N,).
        """
        image = inputs['image']
        if mode == 'loss':
            return self.loss(image)
        if mode == 'tensor':
            return self.tokenizer.encode_ids(image)
        if mode == 'predict':
            if data_samples is None:
                raise ValueError("mode='predict' needs data_samples")
            ids = self.tokenizer.encode_ids(image)
            for sample, row in zip(data_samples, ids, strict=True):
                sample.pred_visual_ids = row
            return data_samples
        raise ValueError(f"{mode=} must be 'tensor', 'loss' or 'predict'")

    def loss(self, image: Tensor) -> dict[str, Tensor]:
        """Compares with the teacher, and lets the codebook learn.

        Args:
            image: `(B, 3, H, W)` in [0, 1], RGB.

        Returns:
            `loss_teacher`, `loss_commitment`, and what `Quantizer.learn`
            says, for the log; scalars.
        """
        _check_range(image)
        vectors = self.tokenizer.vectors(image)
        quantizer = self.tokenizer.quantizer
        quantizer.start(vectors)
        codes = quantizer(vectors)
        decoded = self.tokenizer.decode(codes.features)
        target = self.teacher_tokens(image, decoded.shape)
        statistics = quantizer.learn(vectors, codes.ids)
        similarity = F.cosine_similarity(decoded.float(), target, dim=-1)
        return dict(
            loss_teacher=1 - similarity.mean(),
            loss_commitment=codes.loss,
            **statistics,
        )

    @torch.no_grad()
    def teacher_tokens(self, image: Tensor, shape: Sequence[int]) -> Tensor:
        """Returns the teacher's tokens of the patches, float32.

        Args:
            image: `(B, 3, H, W)` in [0, 1], RGB.
            shape: (B, N, T) that the tokens must have.
        """
        if self.teacher_size is not None:
            size = self.teacher_size, self.teacher_size
            if image.shape[-2:] != size:
                image = F.interpolate(
                    image, size, mode='bicubic', antialias=True
                ).clamp(0, 1)
        mean, std = (
            image.new_tensor(values).view(3, 1, 1)
            for values in (self.teacher_mean, self.teacher_std)
        )
        tokens = self.load_teacher()((255 * image - mean) / std)
        if isinstance(tokens, list | tuple):
            tokens = tokens[0]
        if tokens.ndim == 4:  # (B, T, h, w) -> (B, N, T)
            tokens = tokens.flatten(2).transpose(1, 2)
        if tokens.shape[1] == shape[1] + 1:
            tokens = tokens[:, 1:]
        if tokens.shape != shape:
            raise ValueError(
                f'tokens of shape {tuple(tokens.shape)} of the teacher '
                f'{self.teacher_cfg["type"]} do not fit what is decoded, '
                f'{tuple(shape)} (batch, patches, teacher_dims): it must make '
                "as many patches of its view (teacher_size) as the tokenizer's"
            )
        return tokens.float()


def _check_range(image: Tensor) -> None:
    low, high = image.aminmax()
    if low < 0 or high > 1:
        raise ValueError(
            f'images of values {low:.3g} to {high:.3g} must be in [0, 1]: '
            'data_preprocessor.mean=[0, 0, 0] and std=[255, 255, 255] make '
            'them so'
        )


def _warn_of_noise(teacher: nn.Module, config: dict) -> None:
    """Says if a teacher is told to load nothing; it may yet do so itself."""
    sources = ('init_cfg', 'tokenizer_path')  # the latter of CLIPGenerator
    told = any(config.get(source) for source in sources)
    if any(True for _ in teacher.parameters()) and not told:
        print_log(
            f'model.teacher ({config["type"]}) has no init_cfg: unless it '
            'loads weights by itself, they are random and teach noise',
            logger='current',
            level=logging.WARNING,
        )
