# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""What every comparison is made of."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from mmengine.config import Config
from torch import nn

from benchmarks.measure import Case

# Shares of the largest value, for sums that are taken in another order.
TOLERANCES = {torch.float32: 1e-4, torch.bfloat16: 5e-2}
Module = TypeVar('Module', bound=nn.Module)


@dataclass(frozen=True)
class Comparison:
    """Ways to compute the same.

    Args:
        cases: The ways, ours first.
        tolerance: Largest `measure.difference` of their outputs.
        note: What the figures mean.
    """

    cases: Sequence[Case]
    tolerance: float
    note: str


def config_value(cfg: Config, path: str) -> Any:
    """Returns the value at a dotted path of a config.

    Raises:
        ValueError: If there is none.
    """
    value = cfg._cfg_dict
    for key in path.split('.'):
        if not isinstance(value, dict) or key not in value:
            raise ValueError(f'this needs {path} in the config')
        value = value[key]
    return value


def random_model(build: Callable[[], Module]) -> Module:
    """Returns the same weights each time, and biases other than 0."""
    torch.manual_seed(0)
    model = build().eval()
    for name, parameter in model.named_parameters():
        if name.endswith('bias'):
            nn.init.normal_(parameter, std=0.1)
    return model
