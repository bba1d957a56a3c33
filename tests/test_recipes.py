# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""The figures of the paper and of ViTDet, held against the configs.

Sources by the marks of the paper's tables: T16 is Table 16 of arXiv
2208.10442; V is detectron2's projects/ViTDet; E is EVA-01's detector. The
segmentors' figures are in segmentation_figures.py, those of images and texts
in vision_language_figures.py, those of pretraining in pretraining_figures.py
and visual_tokenizer_figures.py.
"""

from functools import cache
from pathlib import Path

import pytest
from mmengine.config import Config
from pretraining_figures import PRETRAINING_FIGURES
from segmentation_figures import SEGMENTORS
from vision_language_figures import VISION_LANGUAGE_FIGURES
from visual_tokenizer_figures import VISUAL_TOKENIZERS

CONFIGS = Path(__file__).parents[1] / 'configs'
ABSENT = 'absent'
COCO_IMAGES, OBJECTS365_IMAGES = 118287, 1742289
LR = 'optim_wrapper.optimizer.lr'
WEIGHT_DECAY = 'optim_wrapper.optimizer.weight_decay'
BETAS = 'optim_wrapper.optimizer.betas'
LAYER_DECAY = 'optim_wrapper.paramwise_cfg.layer_decay_rate'
NORM_DECAY = 'optim_wrapper.paramwise_cfg.norm_decay_mult'
POSITION_DECAY = 'optim_wrapper.paramwise_cfg.custom_keys'
BACKBONE = 'model.backbone'
WARM_UP = 'param_scheduler.0.end'
STEPS = 'train_cfg.max_iters'

V_COMMON = {
    LR: 1e-4,
    BETAS: (0.9, 0.999),
    WEIGHT_DECAY: 0.1,
    NORM_DECAY: 0.0,
    POSITION_DECAY: {'vision_embedding.positions': {'decay_mult': 0.0}},
    WARM_UP: 250,
    'param_scheduler.0.start_factor': 0.001,
    'param_scheduler.1.gamma': 0.1,
    f'{BACKBONE}.patch_size': 16,
    f'{BACKBONE}.window_size': 14,
    f'{BACKBONE}.with_relative_positions': ABSENT,
}
V_COCO = {
    STEPS: 184375,
    'param_scheduler.1.milestones': [163889, 177546],
}
V_BASE = {
    LAYER_DECAY: 0.7,
    f'{BACKBONE}.drop_path_rate': 0.1,
    f'{BACKBONE}.global_attn_indexes': (2, 5, 8, 11),
    f'{BACKBONE}.embed_dims': 768,
    f'{BACKBONE}.num_layers': 12,
}
V_LARGE = {
    LAYER_DECAY: 0.8,
    f'{BACKBONE}.drop_path_rate': 0.4,
    f'{BACKBONE}.global_attn_indexes': (5, 11, 17, 23),
    f'{BACKBONE}.embed_dims': 1024,
    f'{BACKBONE}.num_layers': 24,
}
T16 = {
    LAYER_DECAY: 0.9,
    WEIGHT_DECAY: 0.1,
    WARM_UP: 250,
    f'{BACKBONE}.drop_path_rate': 0.6,
    BETAS: (0.9, 0.999),
    # V, its huge model
    NORM_DECAY: 1.0,
    POSITION_DECAY: ABSENT,
    # Table 2
    f'{BACKBONE}.embed_dims': 1408,
    f'{BACKBONE}.num_layers': 40,
    f'{BACKBONE}.num_heads': 16,
    f'{BACKBONE}.feedforward_channels': 6144,
    f'{BACKBONE}.multiway_attention': False,
    f'{BACKBONE}.sub_norm': False,
    # E
    f'{BACKBONE}.window_size': 16,
    f'{BACKBONE}.global_attn_indexes': (3, 7, 11, 15, 19, 23, 27, 31, 35, 39),
    f'{BACKBONE}.patch_size': 16,
}
O365 = {
    STEPS: round(15 * OBJECTS365_IMAGES / 64),
    'model.roi_head.mask_head': None,
    'model.roi_head.mask_roi_extractor': None,
    **{f'model.roi_head.bbox_head.{i}.num_classes': 365 for i in range(3)},
    'val_evaluator.metric': 'bbox',
}
HEADS = {
    'model.rpn_head.num_convs': 2,
    'model.roi_head.bbox_head.0.num_shared_convs': 4,
    'model.roi_head.bbox_head.0.num_shared_fcs': 1,
    'model.roi_head.bbox_head.0.norm_cfg.type': 'beit3_mm.LayerNorm2d',
    'model.roi_head.bbox_head.0.norm_cfg.eps': 1e-6,
    'model.roi_head.bbox_head.0.reg_class_agnostic': True,
    'model.neck.out_channels': 256,
    # (10, 5), (20, 10), (30, 15)
    'model.roi_head.bbox_head.0.bbox_coder.target_stds': [0.1, 0.1, 0.2, 0.2],
    'model.roi_head.bbox_head.1.bbox_coder.target_stds': [
        0.05,
        0.05,
        0.1,
        0.1,
    ],
    'model.roi_head.bbox_head.2.bbox_coder.target_stds': [
        1 / 30,
        1 / 30,
        1 / 15,
        1 / 15,
    ],
    'model.train_cfg.rcnn.0.assigner.pos_iou_thr': 0.5,
    'model.train_cfg.rcnn.1.assigner.pos_iou_thr': 0.6,
    'model.train_cfg.rcnn.2.assigner.pos_iou_thr': 0.7,
    # E: soft-NMS at test time is the paper's, its settings are EVA's
    'model.test_cfg.rcnn.nms.type': 'soft_nms',
    'model.test_cfg.rcnn.nms.method': 'linear',
    'model.test_cfg.rcnn.nms.iou_threshold': 0.6,
    'model.test_cfg.rcnn.score_thr': 0.0,
    'auto_scale_lr.base_batch_size': 64,
    'default_hooks.class_count.type': 'beit3_mm.ClassCountHook',
}
COCO_MASKS = {
    'model.roi_head.mask_head.norm_cfg.type': 'beit3_mm.LayerNorm2d',
    **{f'model.roi_head.bbox_head.{i}.num_classes': 80 for i in range(3)},
    'val_evaluator.metric': ['bbox', 'segm'],
}
GIANT_COCO_STEPS = round(20 * COCO_IMAGES / 64)
RECIPES = {
    'det/beit3_cascade_coco.py': (
        V_COMMON | V_COCO | V_BASE | HEADS | COCO_MASKS
    ),
    'det/beit3-large_cascade_coco.py': (
        V_COMMON | V_COCO | V_LARGE | HEADS | COCO_MASKS
    ),
    'det/beit3-giant_cascade_coco.py': (
        T16 | HEADS | COCO_MASKS | {LR: 5e-5, STEPS: GIANT_COCO_STEPS}
    ),
    'det/beit3_cascade_objects365.py': V_COMMON | V_BASE | HEADS | O365,
    'det/beit3-large_cascade_objects365.py': (
        V_COMMON | V_LARGE | HEADS | O365
    ),
    'det/beit3-giant_cascade_objects365.py': T16 | HEADS | O365 | {LR: 1e-4},
    **SEGMENTORS,
    **VISION_LANGUAGE_FIGURES,
    **PRETRAINING_FIGURES,
    **VISUAL_TOKENIZERS,
}
DETECTORS = sorted(name for name in RECIPES if name.startswith('det/'))
INPUT_SIZES = dict.fromkeys(DETECTORS, 1024)  # V, and T16 for Objects365
INPUT_SIZES['det/beit3-giant_cascade_coco.py'] = 1280  # T16


@cache
def load(name):
    return Config.fromfile(CONFIGS / name)


def value_at(config, key):
    """Returns the value of a dotted key, ABSENT where there is none."""
    node = config
    for part in key.split('.'):
        if isinstance(node, list | tuple):
            node = node[int(part)]
        else:
            node = node.get(part, ABSENT)
        if node is ABSENT:
            break
    return node


@pytest.mark.parametrize(
    'name, key', [(n, k) for n, figures in RECIPES.items() for k in figures]
)
def test_figure(name, key):
    value, expected = value_at(load(name), key), RECIPES[name][key]
    if not isinstance(expected, dict):
        expected = pytest.approx(expected)
    assert value == expected


def test_every_recipe_has_figures():
    names = {
        str(path.relative_to(CONFIGS))
        for path in CONFIGS.rglob('*.py')
        if '_base_' not in path.parts
    }
    assert names == set(RECIPES)


@pytest.mark.parametrize('name', DETECTORS)
def test_rate_drops_at_vitdets_fractions(name):
    config = load(name)
    steps = config.train_cfg.max_iters
    milestones = config.param_scheduler[1].milestones
    fractions = [milestone / steps for milestone in milestones]
    assert fractions == pytest.approx([8 / 9, 177546 / 184375], abs=1e-4)


@pytest.mark.parametrize('name, size', sorted(INPUT_SIZES.items()))
def test_every_pipeline_has_the_input_size(name, size):
    config = load(name)
    square = (size, size)
    train = config.train_dataloader.dataset.dataset.pipeline
    steps = {step.type.split('.')[1]: step for step in train}
    assert tuple(steps['RandomResize'].scale) == square
    assert tuple(steps['RandomResize'].ratio_range) == (0.1, 2.0)  # V
    assert tuple(steps['RandomCrop'].crop_size) == square
    assert tuple(steps['Pad'].size) == square
    for loader in (config.val_dataloader, config.test_dataloader):
        steps = {step.type: step for step in loader.dataset.pipeline}
        assert tuple(steps['mmdet.Resize'].scale) == square
    views = config.tta_pipeline[1].transforms[0]
    assert square in [tuple(view.scale) for view in views]


@pytest.mark.parametrize('name', [n for n in DETECTORS if '365' in n])
def test_objects365_loads_no_masks(name):
    config = load(name)
    loaders = (
        config.train_dataloader.dataset,
        config.val_dataloader,
        config.test_dataloader,
    )
    for loader in loaders:
        dataset = loader.dataset
        assert dataset.type == 'beit3_mm.Objects365V2Dataset'
        assert 'objects365v2' in dataset.data_root
        (step,) = [
            step
            for step in dataset.pipeline
            if step.type == 'mmdet.LoadAnnotations'
        ]
        assert not step.with_mask


def test_giants_coco_stage_starts_from_its_objects365_stage():
    giant = load('det/beit3-giant_cascade_coco.py')
    stage = load('det/beit3-giant_cascade_objects365.py')
    assert giant.load_from == (
        'work_dirs/beit3-giant_cascade_objects365/'
        f'iter_{stage.train_cfg.max_iters}.pth'
    )
