# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Plain ways of working, which ours are compared with; nothing else uses them.

B batch, L tokens, C channels, N boxes, K kept boxes.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import box_iou

from beit3_mm.layers.attention import MultiwayAttention
from beit3_mm.layers.multiway import Multiway
from beit3_mm.models.backbones import BEiT3ViT
from beit3_mm.models.encoder import MultiwayEncoder
from beit3_mm.models.multimodal import DualEncoder

# (N, 4) boxes, (N,) scores -> (K, 5) boxes with scores, (K,) indices
ClassNMS = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def window_attention(
    attention: MultiwayAttention,
    x: Tensor,
    grid: tuple[int, int],
    window_size: int,
) -> Tensor:
    """Attends in windows as ViTDet does (arXiv 2203.16527).

    The map is zero-padded after the norm, and the padding goes through the
    projections like every token.

    Args:
        attention: The attention and its projections.
        x: Normed tokens `(B, H * W, C)`.
        grid: (H, W) of the map in tokens.
        window_size: Side of a window in tokens.

    Returns:
        The tokens `(B, H * W, C)`.
    """
    (height, width), size = grid, window_size
    rows, columns = -(-height // size), -(-width // size)
    x = x.unflatten(1, grid)
    x = F.pad(x, (0, 0, 0, columns * size - width, 0, rows * size - height))
    x = x.reshape(-1, rows, size, columns, size, x.shape[-1])
    x = x.permute(0, 1, 3, 2, 4, 5).reshape(-1, size * size, x.shape[-1])
    x, _ = attention(x, num_vision=x.shape[1])
    x = x.reshape(-1, rows, columns, size, size, x.shape[-1])
    x = x.permute(0, 1, 3, 2, 4, 5)
    x = x.reshape(-1, rows * size, columns * size, x.shape[-1])
    return x[:, :height, :width].flatten(1, 2)


def backbone(model: BEiT3ViT, image: Tensor) -> Tensor:
    """Runs a backbone without relative positions layer by layer.

    Args:
        model: In evaluation mode, so that no path is dropped.
        image: `(B, 3, H, W)`.

    Returns:
        The last map `(B, C, h, w)`.
    """
    grid = model.vision_embedding.grid(image)
    x = model.vision_embedding(image)
    num_tokens = x.shape[1]
    for i, layer in enumerate(model.encoder.layers):
        y = layer.attention_norm(x, num_tokens)
        if model.window_size and i not in model.global_attn_indexes:
            y = window_attention(layer.attention, y, grid, model.window_size)
        else:
            y, _ = layer.attention(y, num_tokens)
        x = x + y
        x = x + layer.ffn(x, num_tokens)
    patches = x[:, -grid[0] * grid[1] :]
    return patches.transpose(1, 2).unflatten(2, grid)


def dual_encoder(
    model: DualEncoder, image: Tensor, text_ids: Tensor, padding: Tensor
) -> tuple[Tensor, Tensor]:
    """Embeds as many images as texts, as unilm/beit3 evaluates retrieval.

    Args:
        model: In evaluation mode.
        image: `(B, 3, H, W)`.
        text_ids: `(B, L)`.
        padding: `(B, L)` bool, True = padding.

    Returns:
        Embeddings of images and texts, `(B, C)` each.
    """
    backbone, head = model.backbone, model.head
    vision = backbone.vision_embedding(image)
    vision = encode(backbone.encoder, vision, vision.shape[1])
    language = backbone.text_embedding(text_ids, padding)
    language = encode(backbone.encoder, language, 0, padding)
    return head.embed_image(vision), head.embed_text(language)


def encode(
    encoder: MultiwayEncoder,
    x: Tensor,
    num_vision: int,
    padding: Tensor | None = None,
) -> Tensor:
    """Encodes layer by layer, with the attention weights as tensors of their
    own, as torchscale does.

    Args:
        encoder: No path of it may be dropped.
        x: `(B, L, C)`, vision tokens first.
        num_vision: Number of vision tokens.
        padding: `(B, L)` bool, True = hidden as key.

    Returns:
        `(B, L, C)` after the final norm.
    """
    for layer in encoder.layers:
        y = layer.attention_norm(x, num_vision)
        x = x + softmax_attention(layer.attention, y, num_vision, padding)
        x = x + feed_forward(layer.ffn, x, num_vision)
    return encoder.norm(x, num_vision)


def feed_forward(
    experts: Multiway, x: Tensor, num_vision: int, part_of_pair: bool = False
) -> Tensor:
    """Runs feed-forward networks on whole sequences `(B, L, C)`."""
    whole = experts.expert(num_vision, x.shape[1], part_of_pair)
    parts = {whole: x}
    if whole is None:
        parts = {'vision': x[:, :num_vision], 'language': x[:, num_vision:]}
    out = []
    for name, part in parts.items():
        ffn = experts[name]
        hidden = F.gelu(ffn.fc1(ffn.norm(part)))
        out.append(ffn.fc2(ffn.sub_norm(hidden)))
    return torch.cat(out, 1)


def softmax_attention(
    attention: MultiwayAttention,
    x: Tensor,
    num_vision: int,
    padding: Tensor | None,
) -> Tensor:
    """Attends as `MultiwayAttention.forward` does, step by step."""
    num_heads = attention.num_heads
    projections = (attention.q_proj, attention.k_proj, attention.v_proj)
    q, k, v = (
        proj(x, num_vision).unflatten(-1, (num_heads, -1)).transpose(1, 2)
        for proj in projections
    )
    weights = q * q.shape[-1] ** -0.5 @ k.transpose(-2, -1)
    if padding is not None:
        weights = weights.masked_fill(padding[:, None, None], -torch.inf)
    weights = weights.softmax(-1, dtype=torch.float32).type_as(weights)
    x = (weights @ v).transpose(1, 2).flatten(2)
    if attention.sub_norm is not None:
        x = attention.sub_norm(x, num_vision)
    return attention.out_proj(x, num_vision)


def grid_sample_attention(
    value: Tensor, shapes: Tensor, locations: Tensor, weights: Tensor
) -> Tensor:
    """Deformable attention by `grid_sample`, a call for each level, whose
    samples are all stored, as mmcv's pure-PyTorch function does it.

    Arguments and result are those of `multi_scale_deformable_attention`.
    """
    batch, _, heads, dims = value.shape
    queries, points = locations.shape[1], locations.shape[4]
    sizes = [height * width for height, width in shapes.tolist()]
    samples = []
    for level, part in enumerate(value.split(sizes, 1)):
        # (B, S, H, D) -> (B * H, D, h, w)
        map_ = part.permute(0, 2, 3, 1).flatten(0, 1)
        map_ = map_.unflatten(2, shapes[level].tolist())
        # (B, Q, H, P, 2) -> (B * H, Q, P, 2)
        grid = locations[:, :, :, level].transpose(1, 2).flatten(0, 1)
        samples.append(F.grid_sample(map_, 2 * grid - 1, align_corners=False))
    # (B, Q, H, L, P) -> (B * H, 1, Q, L * P)
    weights = weights.transpose(1, 2).reshape(
        batch * heads, 1, queries, len(sizes) * points
    )
    out = (torch.cat(samples, -1) * weights).sum(-1)  # (B * H, D, Q)
    return out.view(batch, heads * dims, queries).transpose(1, 2)


def nms_by_class(
    nms: ClassNMS, boxes: Tensor, scores: Tensor, labels: Tensor, max_num: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Runs an NMS in one class after the other and keeps the best.

    Returns:
        Boxes `(K, 4)`, decayed scores `(K,)` and indices `(K,)`.
    """
    dets, keeps = [], []
    for label in labels.unique():
        index = (labels == label).nonzero().squeeze(1)
        det, keep = nms(boxes[index], scores[index])
        dets.append(det)
        keeps.append(index[keep])
    dets, keeps = torch.cat(dets), torch.cat(keeps)
    best = dets[:, 4].argsort(descending=True, stable=True)[:max_num]
    return dets[best, :4], dets[best, 4], keeps[best]


def soft_nms(
    boxes: Tensor,
    scores: Tensor,
    max_num: int,
    iou_threshold: float = 0.3,
    sigma: float = 0.5,
    min_score: float = 1e-3,
    method: str = 'linear',
) -> tuple[Tensor, Tensor]:
    """Picks the best box of a class until `max_num` are picked.

    Arguments and results are those of `mmcv.ops.soft_nms`.
    """
    iou = box_iou(boxes, boxes)
    weights = {
        'linear': torch.where(iou >= iou_threshold, 1 - iou, 1.0),
        'gaussian': torch.exp(-iou.square() / sigma),
        'naive': (iou < iou_threshold).to(iou.dtype),
    }[method]
    picks, picked, current = [], [], scores
    for _ in range(min(max_num, len(scores))):
        score, best = current.max(0)
        if score < min_score:
            break
        picks.append(best)
        picked.append(score)
        current = current * weights[best]
        current[best] = -1
    if not picks:
        return boxes.new_zeros(0, 5), scores.new_zeros(0, dtype=torch.long)
    keep = torch.stack(picks)
    return torch.cat([boxes[keep], torch.stack(picked)[:, None]], 1), keep
