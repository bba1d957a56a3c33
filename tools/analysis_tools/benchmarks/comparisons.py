# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Ways to compute the same: ours beside a plain one, or another package's.

A comparison is one function that returns the ways, entered in `COMPARISONS`;
`measure` compares their outputs and times them. Sizes are the config's.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from mmengine.config import Config, ConfigDict
from torch import Tensor

from beit3_mm.layers.attention import MultiwayAttention
from beit3_mm.layers.window import TokenMap
from beit3_mm.models.backbones import BEiT3ViT
from beit3_mm.ops import (
    batched_soft_nms,
    multi_scale_deformable_attention,
)
from benchmarks import plain
from benchmarks.captioning import captioning, captioning_bf16
from benchmarks.comparison import (
    TOLERANCES,
    Comparison,
    config_value,
    random_model,
)
from benchmarks.masked_modeling import (
    masked_modeling,
    masked_modeling_bf16,
)
from benchmarks.measure import Case, Setting
from benchmarks.retrieval import retrieval_bf16, retrieval_encoding


def backbone(cfg: Config, setting: Setting) -> Comparison:
    """The BEiT3ViT of the config, beside the plain ViTDet way."""
    arch = _vit_arch(cfg)
    width, height = config_value(cfg, 'image_size')
    torch.manual_seed(0)
    image = torch.randn(1, 3, height, width).to(setting.device)
    grid = _grid(arch, (height, width))
    flops = backbone_flops(arch, grid)

    def case(name: str, forward: Callable[[BEiT3ViT, Tensor], Any]) -> Case:
        def build() -> Callable[[], Any]:
            model = random_model(lambda: BEiT3ViT(**arch)).to(setting.device)
            return setting.inference(forward, model, image)

        return Case(name, build, f'1 x {height} x {width}', 1, flops)

    return Comparison(
        [
            case('BEiT3ViT', lambda model, image: model(image)[-1]),
            case('plain ViTDet way', plain.backbone),
        ],
        TOLERANCES[setting.dtype],
        f'FLOPs: linear layers and attention of {grid[0] * grid[1]} tokens, '
        'without padding. Target, for base on 1024 x 1024 in float32: 85% of '
        'matrix multiplication.',
    )


def window_padding(cfg: Config, setting: Setting) -> Comparison:
    """Window attention that projects real tokens only, beside one that
    projects the padding too.
    """
    arch = _vit_arch(cfg)
    size, dims = arch.get('window_size', 0), arch['embed_dims']
    if not size:
        raise ValueError('window_padding needs model.backbone.window_size')
    width, height = config_value(cfg, 'image_size')
    grid = _grid(arch, (height, width))
    num_tokens = grid[0] * grid[1]
    torch.manual_seed(0)
    x = torch.randn(1, num_tokens, dims).to(setting.device)

    def case(name: str, forward: Callable[..., Tensor], *args: Any) -> Case:
        def build() -> Callable[[], Tensor]:
            torch.manual_seed(0)
            sub_norm = arch.get('sub_norm', True)
            attention = MultiwayAttention(
                dims, arch['num_heads'], ('vision',), sub_norm
            ).to(setting.device)
            return setting.inference(forward, attention, x, *args)

        flops = num_tokens * (4 * dims**2 * 2 + size**2 * dims * 4)
        inputs = f'{grid[0]} x {grid[1]} tokens, window {size}'
        return Case(name, build, inputs, 1, flops)

    ours = MultiwayAttention.forward_map
    return Comparison(
        [
            case('real tokens projected', ours, TokenMap(grid, size)),
            case('padding projected', plain.window_attention, grid, size),
        ],
        TOLERANCES[setting.dtype],
        f'The attention of one layer. FLOPs: of {num_tokens} tokens, without '
        'padding, both times.',
    )


def soft_nms(cfg: Config, setting: Setting) -> Comparison:
    """Soft-NMS of all classes at once, beside class by class: mmcv's if it
    is compiled, otherwise a plain one.
    """
    test_cfg = 'model.test_cfg'
    max_num = config_value(cfg, f'{test_cfg}.rcnn.max_per_img')
    options = dict(config_value(cfg, f'{test_cfg}.rcnn.nms'))
    if options.pop('type') != 'soft_nms':
        raise ValueError(f'soft_nms needs {test_cfg}.rcnn.nms of its type')
    head = config_value(cfg, 'model.roi_head.bbox_head')
    classes = (head if isinstance(head, dict) else head[0])['num_classes']
    num_boxes = config_value(cfg, f'{test_cfg}.rpn.max_per_img')
    inputs = [x.to(setting.device) for x in _scored_boxes(num_boxes, classes)]
    name, nms = 'plain soft-NMS', partial(plain.soft_nms, max_num=max_num)
    if has_compiled_mmcv():
        from mmcv.ops import soft_nms as mmcv_soft_nms

        name, nms = 'compiled mmcv', mmcv_soft_nms
    nms = partial(nms, **options)

    def ours() -> tuple[Tensor, Tensor, Tensor]:
        dets, keep = batched_soft_nms(*inputs, max_num=max_num, **options)
        return dets[:, :4], dets[:, 4], keep

    def by_class() -> tuple[Tensor, Tensor, Tensor]:
        return plain.nms_by_class(nms, *inputs, max_num)

    ways = {'batched_soft_nms': ours, f'{name}, class by class': by_class}
    size = f'{classes} classes x {num_boxes} boxes'
    return Comparison(
        [
            Case(way, lambda run=run: run, size, images=1, flops=0)
            for way, run in ways.items()
        ],
        TOLERANCES[torch.float32],
        f'All boxes have a score above the threshold; the best {max_num} are '
        f'kept. {options}, always in float32.',
    )


def deform_attn(cfg: Config, setting: Setting) -> Comparison:
    """Deformable attention as a weighted gather, beside grid sampling."""
    return _deformable_attention(setting, with_backward=False)


def deform_attn_train(cfg: Config, setting: Setting) -> Comparison:
    """The same, forward and backward."""
    return _deformable_attention(setting, with_backward=True)


def _deformable_attention(setting: Setting, with_backward: bool) -> Comparison:
    # 3 levels, 8 heads, 4 points: Mask2Former's pixel decoder on 512 pixels.
    shapes = torch.tensor([[64, 64], [32, 32], [16, 16]])
    tokens, heads, dims, points = int(shapes.prod(1).sum()), 8, 32, 4
    torch.manual_seed(0)
    value = torch.randn(1, tokens, heads, dims)
    places = torch.rand(1, tokens, heads, len(shapes), points, 2)
    weights = torch.rand(1, tokens, heads, len(shapes) * points).softmax(-1)
    weights = weights.unflatten(-1, (len(shapes), points))
    value, shapes, *rest = (
        x.to(setting.device) for x in (value, shapes, places, weights)
    )

    def run(attend: Callable[..., Tensor]) -> tuple[Tensor, ...]:
        leaves = [x.requires_grad_(with_backward) for x in (value, *rest)]
        out = attend(leaves[0], shapes, *leaves[1:])
        if not with_backward:
            return (out,)
        return out.detach(), *torch.autograd.grad(out.square().sum(), leaves)

    ways = {
        'weighted gather': multi_scale_deformable_attention,
        'grid sampling': plain.grid_sample_attention,
    }
    size = f'{tokens} queries and tokens, 3 levels, 8 x 32, 4 points'
    return Comparison(
        [
            Case(way, lambda attend=attend: partial(run, attend), size, 1, 0)
            for way, attend in ways.items()
        ],
        TOLERANCES[torch.float32],
        f'Forward{" and backward" * with_backward}, always in float32.',
    )


COMPARISONS: dict[str, Callable[[Config, Setting], Comparison]] = {
    'backbone': backbone,
    'window_padding': window_padding,
    'soft_nms': soft_nms,
    'deform_attn': deform_attn,
    'deform_attn_train': deform_attn_train,
    'retrieval_encoding': retrieval_encoding,
    'retrieval_bf16': retrieval_bf16,
    'captioning': captioning,
    'captioning_bf16': captioning_bf16,
    'masked_modeling': masked_modeling,
    'masked_modeling_bf16': masked_modeling_bf16,
}


def backbone_flops(arch: dict, grid: tuple[int, int]) -> int:
    """Returns the FLOPs of a forward pass, of real tokens only.

    Counted are linear layers, attention and patch embedding, two for each
    multiplication with addition. A token in a window attends to the whole
    window.

    Args:
        arch: Arguments of `BEiT3ViT`.
        grid: (H, W) of the map in tokens.
    """
    tokens, dims = grid[0] * grid[1], arch['embed_dims']
    window = arch.get('window_size', 0) ** 2
    layers = arch['num_layers']
    num_global = len(arch.get('global_attn_indexes', ()))
    if not window:
        num_global = layers
    linear = 4 * dims**2 + 2 * dims * arch['feedforward_channels']
    patch = 3 * arch['patch_size'] ** 2
    return (
        layers * tokens * linear * 2
        + (layers - num_global) * tokens * window * dims * 4
        + num_global * tokens**2 * dims * 4
        + tokens * patch * dims * 2
    )


def has_compiled_mmcv() -> bool:
    """Returns whether mmcv has operators of its own, not our stand-in."""
    from mmcv import _ext

    return not _ext.__file__.endswith('.py')


def _vit_arch(cfg: Config) -> dict:
    """Returns the arguments of the config's BEiT3ViT."""
    arch = ConfigDict(config_value(cfg, 'model.backbone')).to_dict()
    if arch['type'] != 'beit3_mm.BEiT3ViT':
        raise ValueError(
            f'model.backbone.type={arch["type"]!r} must be beit3_mm.BEiT3ViT'
        )
    if arch.get('with_relative_positions'):
        raise ValueError(
            'the plain ViTDet way has no relative positions here; set '
            'model.backbone.with_relative_positions=False'
        )
    return {k: v for k, v in arch.items() if k not in ('type', 'init_cfg')}


def _grid(arch: dict, image_size: tuple[int, int]) -> tuple[int, int]:
    """Returns (H, W) in tokens of an image of (H, W) pixels."""
    height, width = (-(-side // arch['patch_size']) for side in image_size)
    return height, width


def _scored_boxes(num_boxes: int, num_classes: int) -> list[Tensor]:
    """Returns boxes of up to 200 pixels that all classes share, with scores
    and labels of each class.
    """
    torch.manual_seed(0)
    corner = 800 * torch.rand(num_boxes, 2)
    side = 200 * torch.rand(num_boxes, 2)
    return [
        torch.cat([corner, corner + side], 1).repeat(num_classes, 1),
        torch.rand(num_classes * num_boxes),
        torch.arange(num_classes).repeat_interleave(num_boxes),
    ]
