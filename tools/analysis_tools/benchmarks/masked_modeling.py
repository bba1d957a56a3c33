# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Comparisons of masked data modeling: a step of images, texts and pairs."""

from collections.abc import Callable
from typing import Any

import torch
from mmengine.config import Config, ConfigDict
from torch import Tensor

from beit3_mm.models.pretraining import MaskedDataModeling
from benchmarks import plain_masked_modeling
from benchmarks.comparison import (
    TOLERANCES,
    Comparison,
    config_value,
    random_model,
)
from benchmarks.measure import Case, Setting

KINDS = 3  # of samples: images, texts, pairs
MASKED_PATCHES = 0.4  # arXiv 2208.10442, section 2.2
MASKED_WORDS = {'text': 0.15, 'pair': 0.5}
# Texts alone are packed to the longest; tokens of a pair's, <s> and </s>
# included: COCO's captions have 10.5 words on average.
CAPTIONS = 10, 20
# Gradients that are compared: the first and the last layers of all
PROBES = (
    'backbone.vision_embedding.proj.weight',
    'backbone.text_embedding.positions.weight',
    'head.visual.bias',
    'head.lm.bias',
)
Inputs = dict[str, dict[str, Tensor | None]]
Losses = Callable[[MaskedDataModeling, Inputs], dict[str, Tensor]]


def masked_modeling(cfg: Config, setting: Setting) -> Comparison:
    """A forward and backward pass of the config's MaskedDataModeling, beside
    padding to the longest text and output layers at every token.
    """
    longest = _longest(cfg)

    def plain(model: MaskedDataModeling, inputs: Inputs) -> dict[str, Tensor]:
        return plain_masked_modeling.losses(model, inputs, longest)

    return Comparison(
        [
            _case('MaskedDataModeling', cfg, setting, _losses),
            _case('plain way', cfg, setting, plain),
        ],
        TOLERANCES[setting.dtype],
        'losses and gradients are compared; images/s are samples/s; neither '
        'the visual tokenizer nor the optimizer takes part. Target, for base '
        'on 224 x 224 in float32: 1.5 times as fast, in half the memory.',
    )


def masked_modeling_bf16(cfg: Config, setting: Setting) -> Comparison:
    """The MaskedDataModeling of the config in bfloat16 autocast, beside
    float32, whatever --dtype.
    """
    return Comparison(
        [
            _case(
                'MaskedDataModeling',
                cfg,
                Setting(setting.device, dtype),
                _losses,
            )
            for dtype in (torch.bfloat16, torch.float32)
        ],
        TOLERANCES[torch.bfloat16],
        'losses and gradients are compared; images/s are samples/s; the '
        f'matmul is in {setting.dtype}.',
    )


def _losses(model: MaskedDataModeling, inputs: Inputs) -> dict[str, Tensor]:
    found = model(inputs, mode='loss')
    return {name: x for name, x in found.items() if 'loss' in name}


def _case(name: str, cfg: Config, setting: Setting, losses: Losses) -> Case:
    number = _samples(cfg)
    side = config_value(cfg, 'model.backbone.img_size')
    lengths = _longest(cfg)

    def build() -> Callable[[], Any]:
        inputs = _inputs(cfg, setting)
        model = _model(cfg).to(setting.device)
        parameters = dict(model.named_parameters())

        def step() -> tuple[Tensor, ...]:
            enabled = setting.dtype == torch.bfloat16
            kind = setting.device.type
            with torch.autocast(kind, torch.bfloat16, enabled):
                found = losses(model, inputs)
            sum(found.values()).backward()
            gradients = [parameters[name].grad.clone() for name in PROBES]
            model.zero_grad()  # so that two models fit beside each other
            return *(x.detach() for x in found.values()), *gradients

        return step

    words = (
        f'{number} images of {side} x {side}, {number} texts of '
        f'{lengths["text"]}, {number} pairs with {CAPTIONS[0]} to '
        f'{CAPTIONS[1]} (plain: {lengths["pair"]}) tokens'
    )
    return Case(name, build, words, KINDS * number, dtype=setting.dtype)


def _model(cfg: Config) -> MaskedDataModeling:
    """Returns the config's model with random weights, without a tokenizer.

    Raises:
        ValueError: If the config is not of a MaskedDataModeling.
    """
    kind = config_value(cfg, 'model.type')
    if kind != 'beit3_mm.MaskedDataModeling':
        raise ValueError(
            f'model.type={kind!r} must be beit3_mm.MaskedDataModeling'
        )
    backbone, head = (
        ConfigDict(config_value(cfg, f'model.{part}')).to_dict()
        for part in ('backbone', 'head')
    )
    backbone['drop_path_rate'] = 0.0  # what is dropped is drawn
    model = random_model(lambda: MaskedDataModeling(backbone, head))
    return model.train()


def _samples(cfg: Config) -> int:
    """Returns how many samples of a kind there are in a batch."""
    size = config_value(cfg, 'train_dataloader.batch_size')
    if size % KINDS:
        raise ValueError(
            f'train_dataloader.batch_size={size} must divide by {KINDS}'
        )
    return size // KINDS


def _longest(cfg: Config) -> dict[str, int]:
    """Returns the length that texts of each kind are cut at."""
    return {kind: config_value(cfg, f'{kind}_tokens') for kind in MASKED_WORDS}


def _inputs(cfg: Config, setting: Setting) -> Inputs:
    """Returns a batch of noise with as much masked as in pretraining."""
    torch.manual_seed(0)
    number, longest = _samples(cfg), _longest(cfg)
    lengths = {
        'text': torch.full((number, 1), longest['text']),
        'pair': torch.randint(CAPTIONS[0], CAPTIONS[1] + 1, (number, 1)),
    }
    inputs = {
        'image': _images(cfg, number),
        'text': _texts(cfg, 'text', lengths['text']),
        'pair': _images(cfg, number) | _texts(cfg, 'pair', lengths['pair']),
    }
    return {
        kind: {
            name: None if x is None else x.to(setting.device)
            for name, x in batch.items()
        }
        for kind, batch in inputs.items()
    }


def _images(cfg: Config, number: int) -> dict[str, Tensor]:
    side, patch, codes = (
        config_value(cfg, f'model.{path}')
        for path in (
            'backbone.img_size',
            'backbone.patch_size',
            'head.num_visual_codes',
        )
    )
    shape = number, (side // patch) ** 2
    return {
        'image': torch.randn(number, 3, side, side),
        'image_mask': _draw(torch.ones(shape), MASKED_PATCHES),
        'visual_ids': torch.randint(codes, shape),
    }


def _texts(
    cfg: Config, kind: str, lengths: Tensor
) -> dict[str, Tensor | None]:
    num_words = config_value(cfg, 'model.head.vocab_size')
    shape = len(lengths), int(lengths.max())
    places = torch.arange(shape[1])
    padding = places >= lengths
    words = (places > 0) & (places < lengths - 1)
    text_mask = _draw(words.float(), MASKED_WORDS[kind])
    ids = torch.randint(4, num_words, shape).masked_fill(padding, 1)
    return {
        'text_ids': ids.masked_fill(text_mask, num_words - 1),
        'target_ids': ids,
        'text_mask': text_mask,
        'text_padding_mask': padding if padding.any() else None,
    }


def _draw(places: Tensor, share: float) -> Tensor:
    """Draws a share of each row's places `(B, L)`, which are 1, not 0."""
    order = (torch.rand_like(places) + places).argsort(1, descending=True)
    wanted = (places.sum(1, keepdim=True) * share).round()
    return order.argsort(1) < wanted
