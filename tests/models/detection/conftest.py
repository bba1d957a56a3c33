# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Tiny detectors with random weights, and images to try them on."""

import copy

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import ConfigDict
from mmengine.dataset import Compose, pseudo_collate

import beit3_mm  # noqa: F401  makes mmdet importable

NUM_CLASSES = 3
CHANNELS = 16
SOFT_NMS = dict(type='soft_nms', method='linear', iou_threshold=0.5)


def bbox_head(reg_class_agnostic, type='beit3_mm.SoftNMSBBoxHead'):
    """A box head for maps of `CHANNELS`."""
    return dict(
        type=type,
        num_shared_convs=1,
        num_shared_fcs=1,
        in_channels=CHANNELS,
        conv_out_channels=CHANNELS,
        fc_out_channels=32,
        roi_feat_size=7,
        num_classes=NUM_CLASSES,
        reg_class_agnostic=reg_class_agnostic,
        bbox_coder=dict(type='mmdet.DeltaXYWHBBoxCoder'),
        loss_cls=dict(type='mmdet.CrossEntropyLoss'),
        loss_bbox=dict(type='mmdet.SmoothL1Loss'),
    )


def roi_extractor(size):
    """RoIAlign of the four finest levels."""
    return dict(
        type='mmdet.SingleRoIExtractor',
        roi_layer=dict(type='RoIAlign', output_size=size, sampling_ratio=0),
        out_channels=CHANNELS,
        featmap_strides=[4, 8, 16, 32],
    )


def roi_head(cascade, with_mask):
    """Three stages, or one with boxes of each class."""
    head = dict(
        type='mmdet.StandardRoIHead',
        bbox_roi_extractor=roi_extractor(7),
        bbox_head=bbox_head(reg_class_agnostic=False),
    )
    if cascade:
        head = dict(
            type='mmdet.CascadeRoIHead',
            num_stages=3,
            stage_loss_weights=[1, 0.5, 0.25],
            bbox_roi_extractor=roi_extractor(7),
            bbox_head=[bbox_head(reg_class_agnostic=True) for _ in range(3)],
        )
    if with_mask:
        head['mask_roi_extractor'] = roi_extractor(14)
        head['mask_head'] = dict(
            type='mmdet.FCNMaskHead',
            num_convs=1,
            in_channels=CHANNELS,
            conv_out_channels=CHANNELS,
            num_classes=NUM_CLASSES,
            loss_mask=dict(type='mmdet.CrossEntropyLoss', use_mask=True),
        )
    return head


def train_config():
    """Assigners and samplers of three stages, for few proposals."""

    def stage(positive, negative, **kwargs):
        assigner = dict(
            type='mmdet.MaxIoUAssigner',
            pos_iou_thr=positive,
            neg_iou_thr=negative,
            min_pos_iou=negative,
            ignore_iof_thr=-1,
        )
        sampler = dict(
            type='mmdet.RandomSampler',
            num=32,
            pos_fraction=0.5,
            add_gt_as_proposals=True,
        )
        return dict(
            assigner=assigner, sampler=sampler, pos_weight=-1, **kwargs
        )

    return dict(
        rpn=stage(0.7, 0.3, allowed_border=-1),
        rpn_proposal=dict(
            nms_pre=60,
            max_per_img=40,
            min_bbox_size=0,
            nms=dict(type='nms', iou_threshold=0.7),
        ),
        rcnn=[stage(iou, iou, mask_size=28) for iou in (0.5, 0.6, 0.7)],
    )


def detector_config(cascade, with_mask, nms):
    """A detector on a ResNet of width 8."""
    rcnn = dict(score_thr=0.05, nms=nms, max_per_img=20, mask_thr_binary=0.5)
    rpn = dict(nms_pre=60, max_per_img=40, min_bbox_size=0)
    return dict(
        type='mmdet.CascadeRCNN' if cascade else 'mmdet.MaskRCNN',
        _scope_='mmdet',
        data_preprocessor=dict(
            type='mmdet.DetDataPreprocessor',
            mean=[110.0] * 3,
            std=[60.0] * 3,
            pad_size_divisor=32,
        ),
        backbone=dict(
            type='mmdet.ResNet',
            depth=18,
            base_channels=8,
            stem_channels=8,
            norm_eval=True,
        ),
        neck=dict(
            type='mmdet.FPN',
            in_channels=[8, 16, 32, 64],
            out_channels=CHANNELS,
            num_outs=5,
        ),
        rpn_head=dict(
            type='mmdet.RPNHead',
            in_channels=CHANNELS,
            feat_channels=CHANNELS,
            anchor_generator=dict(
                type='mmdet.AnchorGenerator',
                scales=[4],
                ratios=[0.5, 1.0, 2.0],
                strides=[4, 8, 16, 32, 64],
            ),
            loss_cls=dict(type='mmdet.CrossEntropyLoss', use_sigmoid=True),
            loss_bbox=dict(type='mmdet.L1Loss'),
        ),
        roi_head=roi_head(cascade, with_mask),
        train_cfg=train_config() if cascade else None,
        test_cfg=dict(
            rpn=dict(nms=dict(type='nms', iou_threshold=0.7), **rpn),
            rcnn=rcnn,
        ),
    )


@pytest.fixture
def build_detector():
    """Builds a detector whose scores and boxes vary from box to box."""

    def build(cascade=True, with_mask=True, nms=SOFT_NMS):
        config = copy.deepcopy(detector_config(cascade, with_mask, nms))
        torch.manual_seed(0)
        detector = MODELS.build(ConfigDict(config)).eval()
        with torch.no_grad():
            for name, parameter in detector.named_parameters():
                if 'roi_head' in name and parameter.ndim > 1:
                    parameter.normal_(0, 1.3 / parameter[0].numel() ** 0.5)
        return detector

    return build


@pytest.fixture
def images():
    """Two images of different sizes, (H, W, 3) uint8."""
    rng = np.random.default_rng(0)
    return [
        np.kron(
            rng.integers(0, 256, (height, width, 3), dtype=np.uint8),
            np.ones((8, 8, 1), dtype=np.uint8),
        )
        for height, width in [(8, 12), (10, 9)]
    ]


def pipeline(*views):
    """Resize and flip (None: no flip) for each view, as a test has them."""
    resizes = [
        dict(type='mmdet.Resize', scale=(scale, scale), keep_ratio=True)
        for scale, _ in views
    ]
    flips = [
        dict(
            type='mmdet.RandomFlip',
            prob=float(direction is not None),
            direction=direction or 'horizontal',
        )
        for _, direction in views
    ]
    pack = dict(type='mmdet.PackDetInputs')
    return [
        Compose([resize, flip, pack]) for resize, flip in zip(resizes, flips)
    ]


@pytest.fixture
def make_views():
    """Makes the batch of all views, as `TestTimeAug` and collate give it."""

    def make(images, *views):
        batch = []
        for image in images:
            info = dict(
                img=image, img_shape=image.shape[:2], ori_shape=image.shape[:2]
            )
            samples = [t(copy.deepcopy(info)) for t in pipeline(*views)]
            batch.append({k: [s[k] for s in samples] for k in samples[0]})
        return pseudo_collate(batch)

    return make
