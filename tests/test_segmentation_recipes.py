# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""What the recipes of segmentation say in more than one figure."""

import re
import textwrap
from functools import cache
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, MODELS, DefaultScope
from segmentation_figures import SEGMENTORS

from beit3_mm.engine import LayerDecayOptimWrapperConstructor

CONFIGS = Path(__file__).parents[1] / 'configs'


@cache
def load(name):
    return Config.fromfile(CONFIGS / name)


@pytest.mark.parametrize('name', SEGMENTORS)
def test_queries_and_class_embeddings_have_the_smallest_rate(name):
    keys = load(name).optim_wrapper.paramwise_cfg.custom_keys
    for part in ('query', 'level', 'cls', 'mask'):  # VA
        assert keys[f'decode_head.{part}_embed'] == {'depth': 0}


@pytest.mark.parametrize('name', SEGMENTORS)
def test_a_segmentor_knows_its_classes_everywhere(name):
    config = load(name)
    classes = config.model.decode_head.num_classes
    pipelines = [
        config.train_dataloader.dataset.dataset.pipeline,
        config.test_dataloader.dataset.pipeline,
        [
            step
            for steps in config.tta_pipeline[1].transforms
            for step in steps
        ],
    ]
    for pipeline in pipelines:
        (step,) = [s for s in pipeline if 'LoadSemanticMask' in s.type]
        assert step.num_classes == classes
    weights = config.model.decode_head.loss_cls.class_weight
    assert len(weights) == classes + 1
    stuff = 'stuff' in name
    kind = 'mmseg.COCOStuffDataset' if stuff else 'mmseg.ADE20KDataset'
    assert config.train_dataloader.dataset.dataset.type == kind
    assert config.test_dataloader.dataset.type == kind


def text_of(pipeline, classes='3'):
    """Returns a pipeline as text, without scopes, for 3 classes."""
    text = re.sub(r", '_scope_': '\w+'", '', str(pipeline))
    return text.replace(f"'num_classes': {classes}", "'num_classes': 3")


def test_the_config_of_ones_own_data(tmp_path):
    text = (CONFIGS / 'seg/README.md').read_text()
    example = re.search(r'^    _base_ = .*?(?=^\S)', text, re.DOTALL | re.M)
    path = tmp_path / 'own.py'
    path.write_text(textwrap.dedent(example[0]))
    config = Config.fromfile(path)
    head = config.model.decode_head
    assert head.num_classes == 3
    assert head.loss_cls.class_weight == [1.0] * 3 + [0.1]
    base = load('seg/beit3_mask2former_ade20k.py')
    for get in (
        lambda c: c.train_dataloader.dataset.dataset,
        lambda c: c.val_dataloader.dataset,
        lambda c: c.test_dataloader.dataset,
    ):
        ours, theirs = get(config), get(base)
        assert ours.data_prefix == theirs.data_prefix
        dataset = DATASETS.build(dict(ours, pipeline=[], lazy_init=True))
        assert dataset.metainfo['classes'] == ('background', 'road', 'car')
        assert text_of(ours.pipeline) == text_of(theirs.pipeline, '150')
    views = text_of(base.tta_pipeline, '150')
    assert text_of(config.tta_pipeline) == views


@pytest.mark.parametrize('name', SEGMENTORS)
def test_numbers_of_classes_are_compared(name):
    hook = load(name).default_hooks.class_count
    assert hook.type == 'beit3_mm.ClassCountHook'


@pytest.mark.parametrize('name', [n for n in SEGMENTORS if 'ade20k' in n])
def test_segmentors_start_from_their_coco_stuff_stage(name):
    stage = name.replace('ade20k', 'coco-stuff164k')
    assert load(name).load_from == (
        f'work_dirs/{Path(stage).stem}/'
        f'iter_{load(stage).train_cfg.max_iters}.pth'
    )


@cache
def meta_model(name):
    scope = DefaultScope.overwrite_default_scope('mmengine')
    with scope, torch.device('meta'):
        return MODELS.build(load(name).model)


@pytest.mark.parametrize(
    ('size', 'last'),
    [('-large', (5, 11, 17, 23)), ('-giant', (9, 19, 29, 39))],
)
def test_blocks_of_layers_as_vit_adapters(size, last):  # VA, E
    model = meta_model(f'seg/beit3{size}_mask2former_ade20k.py')
    firsts = (0, *(i + 1 for i in last[:-1]))
    assert model.backbone.interaction_indexes == list(zip(firsts, last))


@pytest.mark.parametrize(
    ('size', 'depth', 'decay'), [('', 12, 0.9), ('-giant', 40, 0.95)]
)
def test_rates_of_a_segmentor(size, depth, decay):
    name = f'seg/beit3{size}_mask2former_ade20k.py'
    config, model = load(name), meta_model(name)
    constructor = LayerDecayOptimWrapperConstructor(
        dict(optimizer=config.optim_wrapper.optimizer),
        config.optim_wrapper.paramwise_cfg,
    )
    scales = constructor.param_scales(model)
    slow = ('backbone.vit.vision_embedding.',)
    slow += tuple(
        f'decode_head.{part}_embed.'
        for part in ('query', 'level', 'cls', 'mask')
    )
    layers = 'backbone.vit.encoder.layers.'
    found = set()
    for name, (parameter, scale) in scales.items():
        exponent = 0  # the adapter and the rest of the head
        if name.startswith(slow):
            exponent = depth + 1
        elif name.startswith(layers):
            exponent = depth - int(name.removeprefix(layers).split('.')[0])
        assert scale.lr == pytest.approx(decay**exponent), name
        found.add(exponent)
        free = parameter.ndim == 1 or name.endswith(
            ('cls_token', 'positions.weight')
        )
        assert scale.weight_decay == (0.0 if free else 1.0), name
    assert found == set(range(depth + 2))


@pytest.mark.parametrize('name', SEGMENTORS)
def test_only_ade20k_has_a_label_without_class(name):
    config = load(name)
    loaders = (config.train_dataloader.dataset, config.test_dataloader)
    for loader in loaders:
        options = dict(pipeline=[], lazy_init=True)
        dataset = DATASETS.build(dict(loader.dataset, **options))
        assert dataset.reduce_zero_label is ('ade20k' in name)
        classes = dataset.metainfo['classes']
        assert len(classes) == config.model.decode_head.num_classes
