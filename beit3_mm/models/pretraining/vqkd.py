# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""The visual tokenizer of BEiT v2: images to ids of a codebook.

B batch, h, w height and width in patches, N = h * w, D channels of a code.
"""

import logging

import torch
from mmengine.logging import print_log
from mmengine.model import BaseModule
from torch import Tensor, nn

from beit3_mm.checkpoint import CheckpointError
from beit3_mm.engine.loading import load_file, load_weights
from beit3_mm.models.pretraining.quantizer import Quantized, Quantizer
from beit3_mm.models.pretraining.vqkd_vit import (
    INIT_STD,
    PlainViT,
    init_linears,
)
from beit3_mm.registry import MODELS


@MODELS.register_module()
class VQKD(BaseModule):
    """Vector-quantized knowledge distillation (BEiT v2, arXiv 2208.06366).

    An encoder gives each patch of an image a vector, of which the nearest
    code of a codebook is its visual token; a decoder finds from the codes
    what a teacher says of the patches. The encoder and the codebook are what
    BEiT-3 is pretrained with. `VQKDTraining` trains all three.

    Args:
        img_size: Side in pixels of the images that the positions are made
            for; others of whole patches do as well.
        patch_size: Side of a patch in pixels.
        embed_dims: Channels of encoder and decoder.
        num_layers: Layers of the encoder.
        num_heads: Number of heads of both.
        feedforward_channels: Inner width of the feed-forward networks.
        num_decoder_layers: Layers of the decoder; 0 builds none, and ids
            need none.
        teacher_dims: Channels of the teacher.
        num_codes: Number of codes.
        code_dims: Channels of a code.
        quantizer: Other arguments of `Quantizer`: `decay`, `revive_after`.
        init_cfg: `dict(type='Pretrained', checkpoint=FILE)` loads an official
            file (unilm/beit2) or one of ours, a training's too.

    Raises:
        ValueError: If sizes do not fit each other, or images do not divide
            into patches.

    Example:
        >>> dict(
        ...     type='beit3_mm.VQKD',
        ...     img_size=32,
        ...     patch_size=16,
        ...     embed_dims=48,
        ...     num_layers=2,
        ...     num_heads=3,
        ...     feedforward_channels=96,
        ... )
    """

    def __init__(
        self,
        img_size: int,
        patch_size: int,
        embed_dims: int,
        num_layers: int,
        num_heads: int,
        feedforward_channels: int,
        num_decoder_layers: int = 0,
        teacher_dims: int = 512,
        num_codes: int = 8192,
        code_dims: int = 32,
        quantizer: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.num_codes = num_codes
        shared = dict(
            embed_dims=embed_dims,
            num_heads=num_heads,
            feedforward_channels=feedforward_channels,
        )
        self.encoder = PlainViT(
            3, img_size, patch_size, num_layers=num_layers, **shared
        )
        self.to_code = _mlp(embed_dims, code_dims)
        self.quantizer = Quantizer(num_codes, code_dims, **(quantizer or {}))
        self.decoder = self.to_teacher = None
        if num_decoder_layers:
            self.decoder = PlainViT(
                code_dims,
                img_size // patch_size,
                patch_size=1,
                num_layers=num_decoder_layers,
                **shared,
            )
            self.to_teacher = _mlp(embed_dims, teacher_dims)

    def init_weights(self) -> None:
        """Loads the whole tokenizer that `init_cfg` names, with a report.

        Raises:
            ValueError: If `init_cfg` is of another type.
            FileNotFoundError: If there is no such file.
            CheckpointError: If it lacks a weight, one has another shape, or
                the codebook is not finite.
        """
        if self.init_cfg is None or self._is_init:
            return
        cfg = self.init_cfg
        if not isinstance(cfg, dict) or cfg.get('type') != 'Pretrained':
            raise ValueError(
                f'init_cfg={cfg} of VQKD must be '
                "dict(type='Pretrained', checkpoint=...)"
            )
        path = cfg['checkpoint']
        try:
            weights = load_file(path)
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f'{error}: docs/visual_tokenizer.md says where visual '
                'tokenizers come from'
            ) from error
        report = load_weights(self, weights, str(path))
        if not report.complete:
            raise CheckpointError(
                f'{path} is not a checkpoint of this visual tokenizer: '
                f'{report}'
            )
        if not self.quantizer.codes.isfinite().all():
            raise CheckpointError(
                f'{path} holds codes that are not finite: its training has '
                'diverged; take an earlier checkpoint'
            )
        print_log(str(report), logger='current', level=logging.INFO)
        self._is_init = True

    def forward(self, image: Tensor) -> Quantized:
        """Maps images `(B, 3, H, W)` in [0, 1], RGB, to codes.

        Returns:
            `features` (B, h, w, D), `ids` (B, h, w), and the commitment loss.
        """
        return self.quantizer(self.vectors(image))

    @torch.no_grad()
    def encode_ids(self, image: Tensor) -> Tensor:
        """Maps images `(B, 3, H, W)` in [0, 1], RGB, to ids `(B, N)`."""
        return self.quantizer.ids(self.vectors(image)).flatten(1)

    def vectors(self, image: Tensor) -> Tensor:
        """Maps images to vectors `(B, h, w, D)` of any length, in float32."""
        grid = [side // self.encoder.patch_size for side in image.shape[-2:]]
        x = self.encoder(2 * image - 1)
        # Rounded vectors would be nearest to other codes.
        with torch.autocast(x.device.type, enabled=False):
            x = self.to_code(x.to(self.to_code[0].weight.dtype))
        return x.float().unflatten(1, grid)  # (B, N, D) -> (B, h, w, D)

    def decode(self, features: Tensor) -> Tensor:
        """Maps codes `(B, h, w, D)` to the teacher's channels, `(B, N, T)`.

        Raises:
            ValueError: If there is no decoder.
        """
        if self.decoder is None:
            raise ValueError(
                'this VQKD has no decoder: set num_decoder_layers'
            )
        tokens = self.decoder(features.permute(0, 3, 1, 2))
        return self.to_teacher(tokens)

    def get_layer_depth(
        self, param_name: str, prefix: str = ''
    ) -> tuple[int, int]:
        """Returns depth 0 of 1 for every parameter: no layer decay."""
        return 0, 1


def _mlp(in_channels: int, out_channels: int) -> nn.Sequential:
    mlp = nn.Sequential(
        nn.Linear(in_channels, in_channels),
        nn.Tanh(),
        nn.Linear(in_channels, out_channels),
    )
    init_linears(mlp, INIT_STD)
    return mlp
