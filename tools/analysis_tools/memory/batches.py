# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Training batches of noise for any config, as large as it allows."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from benchmarks.comparison import config_value
from benchmarks.subjects import Source
from mmengine.config import Config
from mmengine.structures import BaseDataElement
from torch import Tensor

from beit3_mm.engine import cli

KINDS = ('image', 'text', 'pair')
MASKED = 64001  # <mask> of the released tokenizer
WORDS = 64010  # BEiT3's default vocab_size
TOKENS = 64  # TokenizeText's default max_tokens
NUM_ANSWERS = 3  # that score, of a question


def training_batch(
    cfg: Config, batch_size: int | None, folder: Path
) -> tuple[dict, str]:
    """Returns a batch, and in words what it is.

    Images have the model's size and texts the greatest length that the
    pipeline leaves them. Data sets of COCO's and of ADE20K's format are drawn
    and go through the config's pipeline.

    Args:
        cfg: Has the model and the data loader.
        batch_size: Samples; None as in the config.
        folder: For drawn pictures.

    Raises:
        ValueError: If nothing is known of such a model's batches.
    """
    torch.manual_seed(0)
    kind = config_value(cfg, 'model.type')
    if kind not in BATCHES:
        return Source(cfg, batch_size, folder).first_batch('train')
    size = batch_size or config_value(cfg, 'train_dataloader.batch_size')
    side = config_value(cfg, 'model.backbone.img_size')
    return BATCHES[kind](cfg, size), f'{size} x {side} x {side}, noise'


def smallest_batch(cfg: Config) -> int:
    """Returns the least number of samples that a batch can have."""
    kind = config_value(cfg, 'model.type')
    return len(KINDS) if kind == 'beit3_mm.MaskedDataModeling' else 1


def _fusion(cfg: Config, size: int) -> dict:
    """Images, or pairs of images, with a text and what is to be answered."""
    head = config_value(cfg, 'model.head')
    if head['type'] == 'beit3_mm.NLVR2Head':
        images = [torch.stack([_image(cfg), _image(cfg)]) for _ in range(size)]
        labels = [dict(gt_label=torch.tensor(0))] * size
    else:
        images = [_image(cfg) for _ in range(size)]
        scores = torch.ones(NUM_ANSWERS)
        answers = torch.arange(NUM_ANSWERS)
        labels = [dict(gt_labels=answers, gt_scores=scores)] * size
    inputs = [dict(image=x, text_ids=_ids(cfg, _tokens(cfg))) for x in images]
    samples = [BaseDataElement(**fields) for fields in labels]
    return dict(inputs=inputs, data_samples=samples)


def _pairs(cfg: Config, size: int) -> dict:
    """Images with a text each."""
    tokens = _tokens(cfg)
    return dict(
        inputs=[
            dict(image=_image(cfg), text_ids=_ids(cfg, tokens))
            for _ in range(size)
        ]
    )


def _captions(cfg: Config, size: int) -> dict:
    """Images with a text each, some of whose words are masked."""
    tree = config_value(cfg, 'train_dataloader')
    return dict(
        inputs=[
            dict(image=_image(cfg)) | _masked_text(cfg, tree, _tokens(cfg))
            for _ in range(size)
        ]
    )


def _masked(cfg: Config, size: int) -> dict:
    """Images, texts and pairs, a third each."""
    if size % len(KINDS):
        raise ValueError(f'batch size {size} must divide by {len(KINDS)}')
    datasets = _find(cfg.train_dataloader, 'beit3_mm.MixedDataset')['datasets']
    inputs = {}
    for kind in KINDS:
        tree, rows = datasets[kind], []
        for _ in range(size // len(KINDS)):
            row = {}
            if kind != 'text':
                row |= _masked_image(cfg, tree)
            if kind != 'image':
                row |= _masked_text(cfg, tree, _tokens(cfg, tree))
            rows.append(row)
        inputs[kind] = rows
    return dict(inputs=inputs)


BATCHES: dict[str, Callable[[Config, int], dict]] = {
    'beit3_mm.FusionEncoder': _fusion,
    'beit3_mm.DualEncoder': _pairs,
    'beit3_mm.ImageToText': _captions,
    'beit3_mm.MaskedDataModeling': _masked,
}


def _image(cfg: Config) -> Tensor:
    side = config_value(cfg, 'model.backbone.img_size')
    return torch.randint(256, (3, side, side), dtype=torch.uint8)


def _ids(cfg: Config, length: int) -> Tensor:
    return torch.randint(4, _vocabulary(cfg) - 1, (length,))


def _vocabulary(cfg: Config) -> int:
    return cfg.model.backbone.get('vocab_size', WORDS)


def _masked_text(cfg: Config, tree: Any, length: int) -> dict[str, Tensor]:
    ids = _ids(cfg, length)
    mask = _draw(length, _find(tree, 'beit3_mm.MaskText')['mask_prob'])
    masked_id = min(MASKED, _vocabulary(cfg) - 1)
    return dict(
        text_ids=ids.masked_fill(mask, masked_id),
        target_ids=ids,
        text_mask=mask,
    )


def _masked_image(cfg: Config, tree: Any) -> dict[str, Tensor]:
    backbone = config_value(cfg, 'model.backbone')
    grid = backbone['img_size'] // backbone['patch_size']
    share = _find(tree, 'beit3_mm.BlockMask')['mask_ratio']
    row = dict(image=_image(cfg), image_mask=_draw(grid**2, share))
    tokenizer = cfg.model.get('visual_tokenizer')
    if tokenizer is None:
        return row | dict(visual_ids=torch.zeros(grid**2, dtype=torch.int64))
    side = grid * tokenizer.get('patch_size', backbone['patch_size'])
    image = torch.randint(256, (3, side, side), dtype=torch.uint8)
    return row | dict(tokenizer_image=image)


def _draw(length: int, share: float) -> Tensor:
    """Draws a share of the places, `(length,)`, True = drawn."""
    return torch.randperm(length) < round(length * share)


def _tokens(cfg: Config, tree: Any = None) -> int:
    """Returns the greatest length of a text in a part of the config."""
    tree = tree or config_value(cfg, 'train_dataloader')
    found = [
        step.get('max_tokens', TOKENS)
        for kind in ('beit3_mm.TokenizeText', 'beit3_mm.PackText')
        for step in _walk(tree, kind)
    ]
    if not found:
        raise ValueError(
            'train_dataloader has neither TokenizeText nor PackText, which '
            'say how long a text can be'
        )
    return max(found)


def _find(tree: Any, kind: str) -> dict:
    """Returns the first dict of a type in a part of the config."""
    found = next(_walk(tree, kind), None)
    if found is None:
        raise ValueError(f'train_dataloader has no {kind}')
    return found


def _walk(tree: Any, kind: str) -> Iterator[dict]:
    return (part for part in cli.dicts(tree) if part.get('type') == kind)
