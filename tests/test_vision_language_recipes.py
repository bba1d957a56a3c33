# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""What the vision-language recipes come to: rates, sizes, texts, batches."""

import gzip
import json
import math
import re
from functools import cache
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, PARAM_SCHEDULERS, DefaultScope
from test_configs import dicts
from vision_language_figures import VISION_LANGUAGE

from beit3_mm.checkpoint import OFFICIAL
from beit3_mm.engine import LayerDecayOptimWrapperConstructor

ROOT = Path(__file__).parents[1]
CONFIGS = ROOT / 'configs'
GOLDEN = ROOT / 'tests' / 'golden' / 'layer_decay_base_vqa.json.gz'
MIN_LR = 1e-6  # OC
EPOCH = 7  # steps

every_recipe = pytest.mark.parametrize('name', VISION_LANGUAGE)
texts = pytest.mark.parametrize(
    'name', [n for n, x in VISION_LANGUAGE.items() if x.max_tokens]
)


@cache
def load(name):
    return Config.fromfile(CONFIGS / name)


def steps_of(dataloader):
    """Returns the transforms of all data sets of a loader."""
    pipelines = [x.pipeline for x in dicts(dataloader) if 'pipeline' in x]
    assert pipelines
    return [
        [step for step in dicts(pipeline) if 'type' in step]
        for pipeline in pipelines
    ]


def every_pipeline(config):
    loaders = (
        config.train_dataloader,
        config.val_dataloader,
        config.test_dataloader,
    )
    # ImageNet-21K has only images for training.
    return [steps for x in loaders if x is not None for steps in steps_of(x)]


@cache
def meta_model(name):
    scope = DefaultScope.overwrite_default_scope('mmengine')
    with scope, torch.device('meta'):
        return MODELS.build(load(name).model)


def constructor(name, **paramwise):
    config = load(name).optim_wrapper
    return LayerDecayOptimWrapperConstructor(
        dict(optimizer=config.optimizer),
        dict(config.paramwise_cfg, **paramwise),
    )


def official_rate(recipe, step, length, warm_up):
    """Returns the rate of a step: linear from 0, then cosine (OC)."""
    if step < warm_up:
        return recipe.lr * step / (warm_up - 1)
    angle = math.pi * (step - warm_up) / (length - warm_up)
    return MIN_LR + (recipe.lr - MIN_LR) * (1 + math.cos(angle)) / 2


@every_recipe
def test_rate_of_each_step(name):
    recipe, config = VISION_LANGUAGE[name], load(name)
    steps = EPOCH if recipe.by_epoch else 1
    shares = (20.0, 1.0, 0.01)  # a head's, the base rate, a low layer's
    groups = [
        dict(params=[torch.zeros(1, requires_grad=True)], lr=recipe.lr * share)
        for share in shares
    ]
    optimizer = torch.optim.SGD(groups, lr=1.0)
    schedulers = [
        PARAM_SCHEDULERS.build(
            dict({'end': recipe.length}, **scheduler),  # as the Runner does
            default_args=dict(optimizer=optimizer, epoch_length=EPOCH),
        )
        for scheduler in config.param_scheduler
    ]
    length, warm_up = recipe.length * steps, recipe.warm_up * steps
    for step in range(length):
        expected = official_rate(recipe, step, length, warm_up)
        for group, share in zip(optimizer.param_groups, shares):
            # 1e-6 of the rate is where it starts, not 0
            assert group['lr'] == pytest.approx(
                expected * share, rel=1e-4, abs=2e-6 * recipe.lr * share
            )
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()


@every_recipe
def test_rate_and_decay_of_each_parameter(name):
    recipe = VISION_LANGUAGE[name]
    depth = len(meta_model(name).backbone.encoder.layers)
    scales = constructor(name).param_scales(meta_model(name))
    layers = 'backbone.encoder.layers.'
    found = set()
    for parameter_name, (parameter, scale) in scales.items():
        exponent, mult = 0, 1.0
        if re.match(r'backbone\.(vision|text)_embedding', parameter_name):
            exponent = depth + 1
        elif parameter_name.startswith(layers):
            number = parameter_name.removeprefix(layers).split('.')[0]
            exponent = depth - int(number)
        elif parameter_name.startswith('head.classifier.'):
            mult = recipe.head_lr_mult
        rate = recipe.layer_decay**exponent * mult
        assert scale.lr == pytest.approx(rate), parameter_name
        found.add(exponent)
        free = parameter.ndim <= 1 or parameter_name.endswith(
            ('cls_token', 'vision_embedding.positions.weight')
        )
        assert scale.weight_decay == (0.0 if free else 1.0), parameter_name
    assert found == set(range(depth + 2))


@pytest.mark.parametrize('size', ['', '-large', '-giant'])
def test_a_text_table_decays_and_a_logit_scale_does_not(size):
    name = f'retrieval/beit3{size}_dual_coco.py'
    scales = constructor(name).param_scales(meta_model(name))
    for table in ('positions', 'words'):
        key = f'backbone.text_embedding.{table}.weight'
        assert scales[key][1].weight_decay == 1.0
    assert scales['head.logit_scale'][1] == (1.0, 0.0)


def test_the_vqa_recipe_agrees_with_the_official_optimizer():
    golden = json.loads(gzip.decompress(GOLDEN.read_bytes()))
    name = 'vqa/beit3_fusion_vqav2.py'
    # The file was made with a layer decay, and without the head's rate.
    scales = constructor(name, layer_decay_rate=0.65).param_scales(
        meta_model(name)
    )
    checked = set()
    for official, expected in golden.items():
        ours = OFFICIAL.to_ours(official)
        if ours == 'backbone.vision_embedding.mask_token':
            continue  # frozen: it has no part in VQA
        scale = scales[ours][1]
        mult = 20.0 if official.startswith('head.') else 1.0
        assert scale.lr == pytest.approx(expected['lr_scale'] * mult), ours
        free = expected['no_weight_decay']
        assert scale.weight_decay == (0.0 if free else 1.0), ours
        checked.add(ours)
    assert checked == set(scales)


@every_recipe
def test_every_pipeline_has_the_input_size(name):
    pixels = VISION_LANGUAGE[name].pixels
    pipelines = every_pipeline(load(name))
    for steps in pipelines:
        sizes = [
            step[key]
            for step in steps
            for key in ('scale', 'crop_size')
            if key in step
        ]
        assert sizes
        for size in sizes:
            assert size in (pixels, (pixels, pixels), [pixels, pixels])


@texts
def test_training_augments_as_the_recipe(name):
    recipe = VISION_LANGUAGE[name]
    config = load(name)
    for steps in steps_of(config.train_dataloader):
        by_type = {step.type: step for step in steps}
        crop = by_type['mmpretrain.RandomResizedCrop']
        assert tuple(crop.crop_ratio_range) == (0.5, 1.0)
        assert crop.interpolation == 'bicubic'
        assert by_type['mmcv.RandomFlip'].prob == 0.5
        assert ('mmpretrain.RandAugment' in by_type) is recipe.randaug
    for loader in (config.val_dataloader, config.test_dataloader):
        for steps in steps_of(loader):
            names = {step.type.split('.')[1] for step in steps}
            assert 'Resize' in names
            assert not [x for x in names if x.startswith('Rand')]


@texts
def test_texts_have_the_recipes_length(name):
    recipe = VISION_LANGUAGE[name]
    pipelines = steps_of(load(name).train_dataloader)
    for steps in pipelines:
        (step,) = [s for s in steps if s.type == 'beit3_mm.TokenizeText']
        assert step.get('max_tokens', 64) == recipe.max_tokens


@pytest.mark.parametrize(
    'name', [n for n in VISION_LANGUAGE if n.startswith('caption/')]
)
def test_captions_are_masked_as_the_recipe(name):
    config = load(name)
    (steps,) = steps_of(config.train_dataloader)
    (mask,) = [s for s in steps if s.type == 'beit3_mm.MaskText']
    assert mask.mask_prob == (0.6 if 'giant' in name else 0.7)  # T13, OC
    assert mask.mask_special is True
    for loader in (config.val_dataloader, config.test_dataloader):
        for steps in steps_of(loader):
            assert 'beit3_mm.MaskText' not in [s.type for s in steps]


@pytest.mark.parametrize('name', [n for n in VISION_LANGUAGE if 'linear' in n])
def test_training_augments_as_timm(name):  # OC
    (steps,) = steps_of(load(name).train_dataloader)
    by_type = {step.type: step for step in steps}
    randaug = by_type['mmpretrain.RandAugment']
    assert randaug.num_policies == 2
    assert randaug.magnitude_level == 9
    assert randaug.magnitude_std == 0.5
    erasing = by_type['mmpretrain.RandomErasing']
    assert erasing.erase_prob == 0.25
    assert erasing.mode == 'rand'


@every_recipe
def test_header_and_loader_agree_on_the_batch(name):
    recipe = VISION_LANGUAGE[name]
    config = load(name)
    lines = (CONFIGS / name).read_text().splitlines()
    header = '\n'.join(line for line in lines if line.startswith('#'))
    batch, devices, share = map(
        int,
        re.search(r'Batch: (\d+) = (\d+) devices x (\d+)', header).groups(),
    )
    assert batch == devices * share == recipe.batch
    assert config.train_dataloader.batch_size == share
    if 'train.sh' in header:
        machines = re.findall(r'NNODES=(\d+)', header)
        assert machines == ([str(devices // 8)] if devices > 8 else [])


@pytest.mark.parametrize(
    'name', [n for n, x in VISION_LANGUAGE.items() if x.batch > 2000]
)
def test_large_batches_are_encoded_in_chunks(name):
    model = meta_model(name)
    assert 1 <= model.chunk_size < load(name).train_dataloader.batch_size


@pytest.mark.parametrize(
    ('name', 'stage'),
    [
        (
            'retrieval/beit3-giant_dual_coco',
            'retrieval/beit3-giant_dual_pairs',
        ),
        (
            'retrieval/beit3-giant_dual_flickr30k',
            'retrieval/beit3-giant_dual_pairs',
        ),
        (
            'classification/beit3-giant_names_imagenet1k',
            'classification/beit3-giant_names_imagenet21k',
        ),
    ],
)
def test_a_stage_is_loaded_where_it_was_saved(name, stage):
    epochs = load(f'{stage}.py').train_cfg.max_epochs
    path = f'work_dirs/{Path(stage).name}/epoch_{epochs}.pth'
    assert load(f'{name}.py').load_from == path
