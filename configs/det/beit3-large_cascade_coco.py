# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
# BEiT-3 large (released form and weights), Cascade Mask R-CNN on COCO.
# Numbers: ViTDet's Cascade large recipe [found: detectron2 projects/ViTDet],
# since the authors published no large detector: layer decay 0.8.
# Expected: not run on COCO by us. ViTDet-L with MAE weights and plain NMS
# reaches 57.6 box / 50.0 mask AP [found: its README].
# Command, with NNODES=8, NODE_RANK and MASTER_ADDR set on each machine:
# bash tools/dist_train.sh configs/det/beit3-large_cascade_coco.py 8
# After the Objects365 stage: --cfg-options model.backbone.init_cfg=None
# load_from=work_dirs/beit3-large_cascade_objects365/iter_408349.pth
_base_ = './beit3_cascade_coco.py'
arch = _base_.archs.large
model = dict(
    backbone=dict(
        **arch,
        **_base_.vitdet_backbones.large,
        init_cfg=dict(checkpoint='beit3_large_patch16_224.pth'),
    ),
    neck=dict(in_channels=arch.embed_dims),
)
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=0.8))
