# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
# BEiT-3 giant (the paper's form), Cascade Mask R-CNN on COCO at 1280 pixels.
# Numbers: Table 16 [tables]: lr 5e-5, 20 epochs, batch 64, warm-up 250 steps,
# layer decay 0.9, weight decay 0.1, drop path 0.6, 1280 pixels. The paper
# leaves open where the rate drops: at 8/9 and 0.963 of the steps, and that
# norms and positions decay too, as ViTDet's huge model [found: detectron2].
# Expected: 63.7 box / 54.8 mask AP on test-dev with test-time augmentation
# [tables], of the paper; not run on COCO by us.
# Command, with NNODES=8, NODE_RANK and MASTER_ADDR set on each machine:
# bash tools/dist_train.sh configs/det/beit3-giant_cascade_coco.py 8
_base_ = './beit3_cascade_coco.py'
arch = dict(_base_.archs.giant, **_base_.vitdet_backbones.giant)
model = dict(backbone=dict(**arch), neck=dict(in_channels=arch['embed_dims']))
load_from = 'work_dirs/beit3-giant_cascade_objects365/iter_408349.pth'
image_size = (1280, 1280)
sizes = {
    'mmcv.RandomResize': dict(scale=image_size),
    'mmdet.RandomCrop': dict(crop_size=image_size),
    'mmdet.Pad': dict(size=image_size),
}
train_pipeline = [
    dict(step, **sizes.get(step.type, {})) for step in _base_.train_pipeline
]
test_pipeline = [dict(step) for step in _base_.test_pipeline]
test_pipeline[1]['scale'] = image_size
train_dataloader = dict(dataset=dict(dataset=dict(pipeline=train_pipeline)))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
tta_pipeline = [dict(step) for step in _base_.tta_pipeline]
tta_pipeline[1]['transforms'][0] = [
    dict(type='mmdet.Resize', scale=(side, side), keep_ratio=True)
    for side in (1024, 1280, 1536)  # ours
]
max_iters = 36965  # 20 epochs x 118,287 images / 64
train_cfg = dict(max_iters=max_iters)
optim_wrapper = dict(
    optimizer=dict(lr=5e-5),
    paramwise_cfg=dict(
        _delete_=True, layer_decay_rate=0.9, norm_decay_mult=1.0
    ),
)
param_scheduler = [
    _base_.param_scheduler[0],
    dict(_base_.param_scheduler[1], milestones=[32858, 35597]),
]
