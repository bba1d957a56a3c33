# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Memory of a deep model, told from two shallow ones.

All layers of an encoder keep as much, so that bytes are affine in their
number as long as the pattern of window and global layers is kept.
"""

import copy
from collections import Counter
from dataclasses import fields

from mmengine.config import Config, ConfigDict

from memory.step import Usage, follow


def follow_shallow(
    cfg: Config, batch: dict, amp: bool, device: str, layers: int
) -> Usage:
    """Follows models of `layers` and of twice as many, and extrapolates.

    Args:
        cfg: As of `step.follow`; so are the following.
        batch: Likewise.
        amp: Likewise.
        device: Likewise.
        layers: Of the smaller model.

    Raises:
        ValueError: If the model's layers are no multiple of these.
    """
    steps = _vit(cfg).num_layers // layers - 2
    low, high = (
        follow(with_layers(cfg, number), batch, amp, device)
        for number in (layers, 2 * layers)
    )
    found = {}
    for field in fields(Usage):
        a, b = getattr(low, field.name), getattr(high, field.name)
        if isinstance(a, Counter):
            found[field.name] = Counter(
                {kind: _ahead(a[kind], b[kind], steps) for kind in b}
            )
        elif isinstance(a, tuple):
            added = Counter(b) - Counter(a)
            found[field.name] = (*b, *(list(added.elements()) * steps))
        else:
            found[field.name] = _ahead(a, b, steps)
    return Usage(**found)


def _ahead(low: int, high: int, steps: int) -> int:
    return high + (high - low) * steps


def with_layers(cfg: Config, layers: int) -> Config:
    """Returns a config of a shallower model.

    Raises:
        ValueError: If the pattern of its layers would be another one.
    """
    cfg = copy.deepcopy(cfg)
    vit = _vit(cfg)
    globals_ = vit.get('global_attn_indexes') or ()
    period = globals_[0] + 1 if globals_ else 1
    blocks = 4 if vit is not cfg.model.backbone else 1  # of the adapter
    if vit.num_layers % layers or layers % period or layers % blocks:
        raise ValueError(
            f'{layers} layers and twice as many do not show what '
            f'{vit.num_layers} need: choose a divisor of it that is a '
            f'multiple of {max(period, blocks)}'
        )
    vit.num_layers = layers
    if globals_:
        vit.global_attn_indexes = tuple(x for x in globals_ if x < layers)
    return cfg


def _vit(cfg: Config) -> ConfigDict:
    backbone = cfg.model.backbone
    return backbone.get('vit', backbone)
