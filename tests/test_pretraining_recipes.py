# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""What the pretraining recipes come to: rates, masks, texts, batches."""

import math
import re
from functools import cache
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, PARAM_SCHEDULERS, DefaultScope
from pretraining_figures import PRETRAINING

from beit3_mm.engine import LayerDecayOptimWrapperConstructor

CONFIGS = Path(__file__).parents[1] / 'configs'
LR, MIN_LR = 1e-3, 1e-5
KINDS = ('image', 'text', 'pair')

every_recipe = pytest.mark.parametrize('name', PRETRAINING)


@cache
def load(name):
    return Config.fromfile(CONFIGS / name)


def pipelines(name, *kinds):
    """Returns of each data set of some kinds the transforms by their name."""
    datasets = load(name).train_dataloader.dataset.dataset.datasets
    assert set(datasets) == set(KINDS)
    found = []
    for kind in kinds:
        parts = datasets[kind]
        for part in parts if isinstance(parts, list) else [parts]:
            found.append({x.type.split('.')[1]: x for x in part.pipeline})
    assert len(found) >= len(kinds)
    return found


@cache
def meta_model(name):
    scope = DefaultScope.overwrite_default_scope('mmengine')
    with scope, torch.device('meta'):
        return MODELS.build(load(name).model)


def rates(config, steps):
    """Returns the learning rates of some steps."""
    group = dict(params=[torch.zeros(1, requires_grad=True)])
    optimizer = torch.optim.SGD([group], lr=config.optim_wrapper.optimizer.lr)
    length = config.train_cfg.max_iters
    schedulers = [
        PARAM_SCHEDULERS.build(
            dict({'end': length}, **scheduler),  # as the Runner does
            default_args=dict(optimizer=optimizer, epoch_length=1),
        )
        for scheduler in config.param_scheduler
    ]
    found = {}
    for step in range(max(steps) + 1):
        found[step] = optimizer.param_groups[0]['lr']
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
    return [found[step] for step in steps]


@every_recipe
def test_the_rate_rises_and_falls_as_a_cosine(name):
    config = Config.fromfile(CONFIGS / name)
    # The same shape in a hundredth of the steps
    config.train_cfg.max_iters //= 100
    warm_up, cosine = config.param_scheduler
    warm_up.end //= 100
    cosine.begin //= 100
    length, begin = config.train_cfg.max_iters, warm_up.end
    assert begin == cosine.begin
    steps = [0, 1, begin // 2, begin, (begin + length) // 2, length - 1]
    for step, rate in zip(steps, rates(config, steps)):
        if step < begin:
            expected = LR * step / (begin - 1)
        else:
            angle = math.pi * (step - begin) / (length - begin)
            expected = MIN_LR + (LR - MIN_LR) * (1 + math.cos(angle)) / 2
        assert rate == pytest.approx(expected, rel=1e-3, abs=2e-6 * LR)


def test_accumulated_gradients_as_the_readme_says():
    text = (CONFIGS / 'pretrain/README.md').read_text()
    options = dict(
        re.findall(r'((?:optim|train|param)[\w.]+)=(\d+)(?=[ \n])', text)
    )
    assert len(options) == 4
    config = Config.fromfile(CONFIGS / 'pretrain/beit3_mdm.py')
    before = load('pretrain/beit3_mdm.py')
    config.merge_from_dict({key: int(x) for key, x in options.items()})
    passes = config.optim_wrapper.accumulative_counts
    devices = 8
    batch = devices * passes * config.train_dataloader.batch_size
    assert batch == config.auto_scale_lr.base_batch_size
    for node, key in (
        ('train_cfg', 'max_iters'),
        (0, 'end'),
        (1, 'begin'),
    ):
        old, new = (
            x[node] if isinstance(node, str) else x.param_scheduler[node]
            for x in (before, config)
        )
        assert new[key] == passes * old[key]


@every_recipe
def test_rate_and_decay_of_each_parameter(name):
    config = load(name).optim_wrapper
    scales = LayerDecayOptimWrapperConstructor(
        dict(optimizer=config.optimizer), config.paramwise_cfg
    ).param_scales(meta_model(name))
    assert len(scales) == len([*meta_model(name).parameters()])
    for key, (parameter, scale) in scales.items():
        assert scale.lr == 1.0
        free = parameter.ndim <= 1 or key.endswith(
            ('cls_token', 'vision_embedding.positions.weight')
        )
        assert scale.weight_decay == (0.0 if free else 1.0), key


@every_recipe
def test_masks_and_views(name):
    _, view, masked, number = PRETRAINING[name]
    patch = load(name).model.backbone.patch_size
    tokenizer = load(name).model.visual_tokenizer
    for steps in pipelines(name, 'image', 'pair'):
        views, mask = steps['TwoViews'], steps['BlockMask']
        assert views.img_size == load(name).model.backbone.img_size == 224
        assert views.tokenizer_img_size == view
        # The tokenizer gives a token for each patch of the student.
        assert (view // tokenizer.patch_size) ** 2 == number
        assert (views.img_size // patch) ** 2 == number
        assert mask.patch_size == patch
        assert round(mask.mask_ratio * number) == masked  # 40%: S2
        jitter = steps['ColorJitter']  # T11
        for part in ('brightness', 'contrast', 'saturation'):
            assert jitter[part] == 0.4
        assert tuple(views.crop_ratio_range) == (0.2, 1.0)  # V2
        assert steps['RandomFlip'].prob == 0.5  # V2
        assert steps['LoadImageFromFile'].skip_damaged
    for steps in pipelines(name, 'text'):
        assert 'TwoViews' not in steps


@every_recipe
def test_texts_are_masked_as_in_the_paper(name):
    for kind, share, length, step in (
        ('text', 0.15, 512, 'PackText'),
        ('pair', 0.5, 64, 'TokenizeText'),
    ):
        for steps in pipelines(name, kind):
            assert steps['MaskText'].mask_prob == share  # S2
            assert steps['MaskText'].mask_special is False
            assert steps[step].max_tokens == length
        assert load(name)[f'{kind}_tokens'] == length  # for benchmark.py
    for steps in pipelines(name, 'image'):
        assert 'MaskText' not in steps


@every_recipe
def test_a_batch_has_as_many_of_each_kind(name):
    config = load(name)
    loader = config.train_dataloader
    assert loader.sampler.ratio == dict(image=1, text=1, pair=1)  # T11
    assert loader.batch_size % 3 == 0
    lines = (CONFIGS / name).read_text().splitlines()
    header = '\n'.join(line for line in lines if line.startswith('#'))
    found = re.search(r'Batch: (\d+) = (\d+) devices? x (\d+)', header)
    batch, devices, share = map(int, found.groups())
    assert batch == devices * share == config.auto_scale_lr.base_batch_size
    assert loader.batch_size == share
    machines = re.findall(r'NNODES=(\d+)', header)
    assert machines == ([str(devices // 8)] if devices > 8 else [])


def test_giants_parameters_are_those_of_table_2():
    model = meta_model('pretrain/beit3-giant_mdm.py')
    linear = {
        name: x.numel()
        for name, x in model.named_parameters()
        if 'norm' not in name
    }
    for part, millions in (
        (r'ffn\.vision\.', 692),
        (r'ffn\.language\.', 692),
        (r'ffn\.vision_language\.', 52),
        (r'attention\.', 317),
    ):
        found = sum(x for name, x in linear.items() if re.search(part, name))
        assert round(found / 1e6) == millions
    total = sum(x.numel() for x in model.parameters())
    assert round(total / 1e8) == 19  # 1.9B
