# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Comparisons of captioning: captions of a few images by beam search."""

from collections.abc import Callable
from typing import Any

import torch
from mmengine.config import Config, ConfigDict
from torch import Tensor

from beit3_mm.models.multimodal import ImageToText
from beit3_mm.models.multimodal.beam_search import Captions
from benchmarks.comparison import (
    TOLERANCES,
    Comparison,
    config_value,
    random_model,
)
from benchmarks.measure import Case, Setting
from benchmarks.plain_captioning import write_captions

IMAGES = 2
OPTIONS = ('beam_search', 'use_vl_experts')
Way = Callable[[ImageToText, Tensor], Captions]


def captioning(cfg: Config, setting: Setting) -> Comparison:
    """Captions by the ImageToText of the config, beside an image for each
    beam, whose keys and values are reordered.
    """
    exact = setting.dtype == torch.float32
    return Comparison(
        [
            _case('ImageToText', cfg, setting, search_beams, exact),
            _case('plain official way', cfg, setting, write_captions, exact),
        ],
        TOLERANCES[setting.dtype],
        'scores and, in float32, ids are compared. Target, for base on 480 x '
        '480 with 3 beams and 20 tokens in float32: 5 times as fast.',
    )


def captioning_bf16(cfg: Config, setting: Setting) -> Comparison:
    """The ImageToText of the config in bfloat16 autocast, beside float32,
    whatever --dtype.
    """
    return Comparison(
        [
            _case(
                'ImageToText',
                cfg,
                Setting(setting.device, dtype),
                search_beams,
                with_ids=False,
            )
            for dtype in (torch.bfloat16, torch.float32)
        ],
        TOLERANCES[torch.bfloat16],
        f'scores are compared; the matmul is in {setting.dtype}. Target, '
        'where the processor has bfloat16: 2.5 times as fast.',
    )


def search_beams(model: ImageToText, image: Tensor) -> Captions:
    """Writes captions our way."""
    return model.beam_search(model.backbone, model.head, image)


def _case(
    name: str, cfg: Config, setting: Setting, way: Way, with_ids: bool
) -> Case:
    """Returns a case with a model of its own.

    Args:
        name: What it is.
        cfg: Has the model.
        setting: Of this case.
        way: Writes captions.
        with_ids: Whether ids are compared: rounding may change which of two
            captions of nearly the same score is the best.
    """
    kind = config_value(cfg, 'model.type')
    if kind != 'beit3_mm.ImageToText':
        raise ValueError(f'model.type={kind!r} must be beit3_mm.ImageToText')
    side = config_value(cfg, 'model.backbone.img_size')
    model = ConfigDict(cfg.model).to_dict()
    parts = {part: model[part] for part in OPTIONS if part in model}
    for part in ('backbone', 'head'):
        parts[part] = config_value(cfg, f'model.{part}')

    def build() -> Callable[[], Any]:
        torch.manual_seed(0)
        image = torch.randn(IMAGES, 3, side, side).to(setting.device)
        own = random_model(lambda: ImageToText(**parts)).to(setting.device)
        search = setting.inference(way, own, image)
        return lambda: search()[0 if with_ids else 1 :]

    return Case(
        name, build, f'{IMAGES} x {side} x {side}', IMAGES, dtype=setting.dtype
    )
