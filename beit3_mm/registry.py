# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
# ruff: noqa: E402  a missing mmengine gets a message of ours
"""Child registries of mmengine's, scope `beit3_mm`.

A registry imports the modules in `locations` when a type is first looked up,
so that importing `beit3_mm` imports no model.
"""

from importlib.util import find_spec

from beit3_mm.compat import require_hosts

require_hosts('mmengine')

from mmengine.registry import DATA_SAMPLERS as _DATA_SAMPLERS
from mmengine.registry import DATASETS as _DATASETS
from mmengine.registry import FUNCTIONS as _FUNCTIONS
from mmengine.registry import HOOKS as _HOOKS
from mmengine.registry import METRICS as _METRICS
from mmengine.registry import MODELS as _MODELS
from mmengine.registry import (
    OPTIM_WRAPPER_CONSTRUCTORS as _OPTIM_WRAPPER_CONSTRUCTORS,
)
from mmengine.registry import OPTIM_WRAPPERS as _OPTIM_WRAPPERS
from mmengine.registry import STRATEGIES as _STRATEGIES
from mmengine.registry import TRANSFORMS as _TRANSFORMS
from mmengine.registry import Registry


def _child(parent: Registry, *locations: str) -> Registry:
    return Registry(
        parent.name,
        parent=parent,
        scope='beit3_mm',
        locations=[f'beit3_mm.{location}' for location in locations],
    )


# What builds on a host is there for those who have it.
_DETECTION = find_spec('mmdet') is not None
_SEGMENTATION = find_spec('mmseg') is not None

MODELS = _child(
    _MODELS,
    'models.backbones',
    'models.heads',
    'models.multimodal',
    'models.necks',
    'models.pretraining',
    *['models.detection'] * _DETECTION,
    *['models.segmentation'] * _SEGMENTATION,
)
TRANSFORMS = _child(
    _TRANSFORMS,
    'datasets.transforms',
    *['datasets.transforms.detection'] * _DETECTION,
    *['datasets.transforms.segmentation'] * _SEGMENTATION,
)
DATASETS = _child(_DATASETS, 'datasets', *['datasets.coco'] * _DETECTION)
FUNCTIONS = _child(_FUNCTIONS, 'datasets.pretraining')
DATA_SAMPLERS = _child(_DATA_SAMPLERS, 'datasets.samplers')
HOOKS = _child(_HOOKS, 'engine')
METRICS = _child(_METRICS, 'evaluation')
OPTIM_WRAPPERS = _child(_OPTIM_WRAPPERS, 'engine')
OPTIM_WRAPPER_CONSTRUCTORS = _child(_OPTIM_WRAPPER_CONSTRUCTORS, 'engine')
STRATEGIES = _child(_STRATEGIES, 'engine')
