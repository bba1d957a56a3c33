# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""How each kind of golden file is computed here; enter new ones in `KINDS`."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from beit3_mm.checkpoint import VIT_ADAPTER
from beit3_mm.engine.loading import load_weights
from beit3_mm.models.backbones.adapter_layers import (
    ConvFFN,
    DeformableCrossAttention,
    Extractor,
    Geometry,
    Injector,
    SpatialPriorModule,
    map_to_tokens,
)
from beit3_mm.models.backbones.beit3_adapter import InteractionBlock
from beit3_mm.models.multimodal import DualEncoder
from beit3_mm.ops import batched_soft_nms
from parity.captioning import captioning
from parity.fusion import classification, nlvr2, vqa
from parity.golden_file import GoldenFile
from parity.official import encoder_sizes, load

_BLOCK = 'interactions.0.'  # official name


def retrieval(file: GoldenFile) -> dict[str, Tensor]:
    """The encoder on an image, a text, both, with patches masked or not; the
    embeddings of image and text alone and their loss.
    """
    sizes = encoder_sizes(file)
    head = {
        'type': 'beit3_mm.ContrastiveHead',
        'embed_dims': sizes['embed_dims'],
    }
    model = DualEncoder(sizes, head)
    load(model, file)
    image = {'image': file['image']}
    text = {
        'text_ids': file['text_ids'],
        'text_padding_mask': file['text_padding_mask'],
    }
    mask = {'image_mask': file['vision_masked_position']}
    inputs = {
        'image': image,
        'image_masked': image | mask,
        'text': text,
        'fused': image | text,
        'fused_masked': image | text | mask,
    }
    outputs = {}
    for name, arguments in inputs.items():
        output = model.backbone(**arguments)
        parts = [x for x in (output.vision, output.language) if x is not None]
        outputs[name] = torch.cat(parts, dim=1)
    embeddings = model(image | text)
    return outputs | {
        'image_embedding': embeddings.image,
        'text_embedding': embeddings.text,
        'contrastive_loss': model.head.loss(*embeddings)['loss'],
    }


def mmcv_ops(file: GoldenFile) -> dict[str, Tensor]:
    """What stands in for mmcv's compiled operators, or these themselves."""
    from mmcv.ops import RoIAlign, batched_nms

    boxes = [file[name] for name in ('boxes', 'scores', 'labels')]
    outputs = {}
    for name in ('nms', 'soft_linear', 'soft_gaussian', 'soft_naive'):
        options = file.json(f'cfg/{name}')
        if options['type'] == 'soft_nms':
            options.pop('type')
            dets, keep = batched_soft_nms(*boxes, **options)
        else:
            dets, keep = batched_nms(*boxes, options)
        outputs |= {f'{name}/dets': dets, f'{name}/keep': keep}
    for ratio in (0, 2):
        feat = file['feat'].requires_grad_()
        with torch.enable_grad():
            out = RoIAlign((7, 7), 0.25, ratio)(feat, file['rois'])
        # The gradient that the reference was made with.
        upstream = torch.arange(784.0).view(4, 4, 7, 7) / 784
        (gradient,) = torch.autograd.grad(out, feat, upstream)
        outputs[f'roi_align_sr{ratio}'] = out.detach()
        outputs[f'roi_align_sr{ratio}_grad'] = gradient
    return outputs


def vit_adapter(file: GoldenFile) -> dict[str, Tensor]:
    """Spatial prior module and one interaction block around no ViT layer."""
    config, dims = file.config, file.config['embed_dims']

    def attention(num_levels: int) -> DeformableCrossAttention:
        return DeformableCrossAttention(
            dims,
            config['deform_num_heads'],
            num_levels,
            config['n_points'],
            config['deform_ratio'],
        )

    inner = int(dims * config['cffn_ratio'])
    extractors = [
        Extractor(attention(1), ConvFFN(dims, inner), 0.0) for _ in range(3)
    ]
    block = InteractionBlock(Injector(attention(3), dims, 0.0), extractors)
    model = nn.Module()
    model.spatial_prior = SpatialPriorModule(config['conv_inplane'], dims)
    model.interactions = nn.ModuleList([block])
    official = {
        f'{ours}{name}': value
        for part, ours in (('spm/', 'spm.'), ('interaction/', _BLOCK))
        for name, value in file.part(part).items()
    }
    weights = {VIT_ADAPTER.to_ours(k): v for k, v in official.items()}
    report = load_weights(model.eval(), weights, file.path)
    if not report.complete or report.unexpected:
        raise ValueError(f'it does not fit the adapter: {report}')

    prior = model.spatial_prior(file['image'])
    _, *grids = (tuple(x.shape[-2:]) for x in prior)
    c1, (c2, c3, c4) = prior[0], map(map_to_tokens, prior[1:])
    levels, tokens = torch.cat([c2, c3, c4], 1), file['tokens']
    device = tokens.device
    inject = Geometry.of(grids[1:2], grids, device)
    extract = Geometry.of(grids, grids[1:2], device)
    tokens = block.injector(tokens, levels, inject)
    for extractor in block.extractors:
        levels = extractor(levels, tokens, extract, grids)
    return {
        'c1': c1,
        **{'c2': c2, 'c3': c3, 'c4': c4},
        **{'tokens': tokens, 'c': levels, 'cls': file['cls']},
    }


@dataclass(frozen=True)
class Kind:
    """How files of a kind are checked.

    Args:
        outputs: Computes the `out/...` that are known, without the prefix.
        tolerance: Largest absolute difference; indices differ by 1 or more.
    """

    outputs: Callable[[GoldenFile], dict[str, Tensor]]
    tolerance: float = 1e-5


KINDS = {
    'retrieval': Kind(retrieval),
    'captioning': Kind(captioning),
    # 1e-5 would not tell a wrong LayerNorm epsilon
    'vqa': Kind(vqa, 1e-6),
    'nlvr2': Kind(nlvr2, 1e-6),
    'classification': Kind(classification, 1e-6),
    'mmcv_ops': Kind(mmcv_ops),
    'vit_adapter': Kind(vit_adapter),
}
