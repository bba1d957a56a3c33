# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Comparisons of retrieval: encoding images and their captions."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from mmengine.config import Config, ConfigDict
from mmengine.structures import BaseDataElement
from torch import Tensor

from beit3_mm.models.multimodal import DualEncoder
from benchmarks import plain
from benchmarks.comparison import (
    TOLERANCES,
    Comparison,
    config_value,
    random_model,
)
from benchmarks.measure import Case, Setting

IMAGES, CAPTIONS = 2, 5  # as COCO and Flickr30K have captions
# Tokens of a caption, <s> and </s> included; COCO's have 10.5 words on average
SHORTEST, LONGEST = 10, 20
PADDED = 64  # unilm/beit3: --num_max_bpe_tokens


def retrieval_encoding(cfg: Config, setting: Setting) -> Comparison:
    """Images and captions by the DualEncoder of the config, beside an image
    for each caption and captions padded to 64 tokens.
    """
    inputs, words = _inputs(cfg, setting)
    model = partial(_model, cfg, setting)

    def case(name: str, forward: Callable[..., Any]) -> Case:
        def build() -> Callable[[], Any]:
            return setting.inference(forward, model(), inputs)

        return Case(name, build, words, IMAGES)

    return Comparison(
        [
            case('DualEncoder', _predict),
            case('plain official way', _official),
        ],
        TOLERANCES[setting.dtype],
        f'captions of {SHORTEST} to {LONGEST} tokens. Target, for base on '
        '384 x 384 in float32: 6.5 times as fast.',
    )


def retrieval_bf16(cfg: Config, setting: Setting) -> Comparison:
    """The DualEncoder of the config in bfloat16 autocast, beside float32,
    whatever --dtype.
    """
    inputs, words = _inputs(cfg, setting)

    def case(dtype: torch.dtype) -> Case:
        def build() -> Callable[[], Any]:
            model = _model(cfg, setting)
            own = Setting(setting.device, dtype)
            return own.inference(_predict, model, inputs)

        return Case('DualEncoder', build, words, IMAGES, dtype=dtype)

    return Comparison(
        [case(torch.bfloat16), case(torch.float32)],
        TOLERANCES[torch.bfloat16],
        f'captions of {SHORTEST} to {LONGEST} tokens; the matmul is in '
        f'{setting.dtype}. Target, where the processor has bfloat16: 2.5 '
        'times as fast.',
    )


def _model(cfg: Config, setting: Setting) -> DualEncoder:
    """Returns the config's model with random weights."""
    parts = {
        part: ConfigDict(config_value(cfg, f'model.{part}')).to_dict()
        for part in ('backbone', 'head')
    }
    return random_model(lambda: DualEncoder(**parts)).to(setting.device)


def _inputs(cfg: Config, setting: Setting) -> tuple[dict[str, Tensor], str]:
    """Returns images, captions padded to the longest, and both in words.

    Raises:
        ValueError: If the config is not of a DualEncoder.
    """
    kind = config_value(cfg, 'model.type')
    if kind != 'beit3_mm.DualEncoder':
        raise ValueError(f'model.type={kind!r} must be beit3_mm.DualEncoder')
    backbone = config_value(cfg, 'model.backbone')
    side, num_words = backbone['img_size'], backbone.get('vocab_size', 64010)
    torch.manual_seed(0)
    number = IMAGES * CAPTIONS
    lengths = torch.randint(SHORTEST, LONGEST + 1, (number, 1))
    ids = torch.randint(4, num_words, (number, int(lengths.max())))
    padding = torch.arange(ids.shape[1]) >= lengths
    inputs = {
        'image': torch.randn(IMAGES, 3, side, side),
        'text_ids': ids.masked_fill(padding, 1),
        'text_padding_mask': padding,
    }
    words = f'{IMAGES} x {side} x {side}, {number} captions'
    return {name: x.to(setting.device) for name, x in inputs.items()}, words


def _predict(
    model: DualEncoder, inputs: dict[str, Tensor]
) -> tuple[Tensor, Tensor]:
    samples = [
        BaseDataElement(metainfo={'num_texts': CAPTIONS})
        for _ in range(IMAGES)
    ]
    samples = model(inputs, samples, mode='predict')
    return (
        torch.stack([sample.image_embedding for sample in samples]),
        torch.cat([sample.text_embeddings for sample in samples]),
    )


def _official(
    model: DualEncoder, inputs: dict[str, Tensor]
) -> tuple[Tensor, Tensor]:
    image = inputs['image'].repeat_interleave(CAPTIONS, 0)
    missing = 0, PADDED - inputs['text_ids'].shape[1]
    pad = torch.nn.functional.pad
    image, text = plain.dual_encoder(
        model,
        image,
        pad(inputs['text_ids'], missing, value=1),
        pad(inputs['text_padding_mask'], missing, value=True),
    )
    return image[::CAPTIONS], text
