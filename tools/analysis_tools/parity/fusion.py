# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Golden files of tasks whose logits come from a fusion encoder, or from the
vision half alone.
"""

import torch
from torch import Tensor, nn

from beit3_mm.models.backbones import BEiT3ViT
from beit3_mm.models.heads import ClassificationHead
from beit3_mm.models.multimodal import FusionEncoder
from parity.golden_file import GoldenFile
from parity.official import encoder_sizes, load

# Classification has a vision encoder alone; the official files hold more.
LANGUAGE = ('.B.', 'text_embed.', 'mask_token')


def vqa(file: GoldenFile) -> dict[str, Tensor]:
    """The answers' logits; an encoder without final norm."""
    num_answers = len(file['weights/head.3.bias'])
    head = dict(type='beit3_mm.VQAHead', num_answers=num_answers)
    model = _fusion_encoder(file, head, final_norm=False)
    return {'logits': model(_inputs(file, file['image']))}


def nlvr2(file: GoldenFile) -> dict[str, Tensor]:
    """The logits of two images and one text."""
    head = dict(type='beit3_mm.NLVR2Head')
    model = _fusion_encoder(file, head, final_norm=True)
    images = torch.stack([file['image'], file['image2']], dim=1)
    return {'logits': model(_inputs(file, images))}


def classification(file: GoldenFile) -> dict[str, Tensor]:
    """The classes' logits; what mmpretrain's `ImageClassifier` does with a
    backbone, global average pooling and our head.
    """
    sizes = encoder_sizes(file)
    dims = sizes['embed_dims']
    for key in ('vocab_size', 'max_text_positions'):
        sizes.pop(key)
    model = nn.Module()
    model.backbone = BEiT3ViT(**sizes, with_cls_token=True)
    model.head = ClassificationHead(dims, len(file['weights/head.bias']))
    load(model, file, unused=LANGUAGE)
    (features,) = model.backbone(file['image'])
    return {'logits': model.head((features.mean((2, 3)),))}


def _fusion_encoder(
    file: GoldenFile, head: dict, final_norm: bool
) -> FusionEncoder:
    sizes = encoder_sizes(file)
    model = FusionEncoder(
        dict(sizes, final_norm=final_norm),
        dict(head, embed_dims=sizes['embed_dims']),
    )
    load(model, file)
    return model


def _inputs(file: GoldenFile, image: Tensor) -> dict[str, Tensor]:
    texts = {k: file[k] for k in ('text_ids', 'text_padding_mask')}
    return {'image': image, **texts}
