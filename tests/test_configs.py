# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Every config loads, by path and through the package, and builds."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, TRANSFORMS, DefaultScope

from beit3_mm.engine import LayerDecayOptimWrapperConstructor

ROOT = Path(__file__).parents[1]
RECIPES = sorted(
    path
    for path in (ROOT / 'configs').rglob('*.py')
    if '_base_' not in path.parts
)
DEMOS = sorted(
    path
    for path in (ROOT / 'projects').glob('*/configs/**/*.py')
    if '_base_' not in path.parts
)
SCOPES = {'beit3_mm', 'mmengine', 'mmcv', 'mmdet', 'mmseg', 'mmpretrain'}
# Types that hosts look up without a registry, or that mmengine registers from
# torch under plain names.
PLAIN = {
    *('AdamW', 'GN', 'Pretrained', 'ReLU', 'RoIAlign'),
    *('nms', 'soft_nms'),
}


def name(path):
    return str(path.relative_to(ROOT))


every_config = pytest.mark.parametrize('path', [*RECIPES, *DEMOS], ids=name)


def dicts(node):
    """Yields every dict of a config."""
    if isinstance(node, dict):
        yield node
        node = list(node.values())
    if isinstance(node, list | tuple):
        for item in node:
            yield from dicts(item)


def test_configs_are_found():
    assert len(RECIPES) >= 40
    assert len(DEMOS) >= 1


@every_config
def test_types_carry_their_scope(path):
    config = Config.fromfile(path)
    types = [
        node['type'] for node in dicts(config.to_dict()) if 'type' in node
    ]
    assert types
    for type_ in types:
        scope = type_.split('.')[0]
        assert type_ in PLAIN or ('.' in type_ and scope in SCOPES), type_


@every_config
def test_model_builds_with_an_optimizer(path):
    config = Config.fromfile(path)
    with DefaultScope.overwrite_default_scope('mmengine'):
        with torch.device('meta'):
            model = MODELS.build(config.model)
        assert config.optim_wrapper.constructor == (
            'beit3_mm.LayerDecayOptimWrapperConstructor'
        )
        constructor = LayerDecayOptimWrapperConstructor(
            dict(optimizer=config.optim_wrapper.optimizer),
            config.optim_wrapper.paramwise_cfg,
        )
        scales = constructor.param_scales(model)
    trained = [x for x in model.parameters() if x.requires_grad]
    assert len(scales) == len(trained)


@every_config
def test_pipelines_build(path):
    config = Config.fromfile(path)
    pipelines = [
        node['pipeline']
        for node in dicts(config.to_dict())
        if 'pipeline' in node
    ]
    # training, validation, test; ImageNet-21K has no other images
    assert len(pipelines) >= (1 if config.val_cfg is None else 3)
    for pipeline in [*pipelines, config.get('tta_pipeline', [])]:
        with DefaultScope.overwrite_default_scope('mmengine'):
            for step in pipeline:
                assert callable(TRANSFORMS.build(step))


@pytest.mark.parametrize('path', RECIPES, ids=name)
def test_the_package_gives_the_same_config(path, tmp_path):
    user = tmp_path / 'user.py'
    relative = path.relative_to(ROOT / 'configs')
    user.write_text(f"_base_ = 'beit3_mm::{relative}'\n")
    inherited, direct = Config.fromfile(user), Config.fromfile(path)
    # mmengine stamps the package's scope on the outermost dicts with a type
    # that say none themselves.
    for node in dicts(inherited._cfg_dict):
        if node.get('_scope_') == 'beit3_mm':
            node.pop('_scope_')
    assert inherited.to_dict() == direct.to_dict()


@pytest.mark.parametrize('path', RECIPES, ids=name)
def test_headers_say_what_users_need(path):
    lines = path.read_text().splitlines()
    header = [line for line in lines if line.startswith('#')]
    text = '\n'.join(header)
    for word in ('Numbers:', 'Expected:', 'Command'):
        assert word in text, word
    assert name(path) in text.replace('# ', '').replace('\n', ' ')
    assert len(lines) - len(header) <= 40


@pytest.mark.parametrize('path', DEMOS, ids=name)
def test_the_rate_of_a_demo_is_for_its_own_batch(path):
    config = Config.fromfile(path)
    loader = config.train_dataloader
    assert config.auto_scale_lr.base_batch_size == loader.batch_size
