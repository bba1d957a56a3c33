# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
# BEiT-3 base (released form and weights), Cascade Mask R-CNN on COCO.
# Numbers: the authors published no base detector; all of them are ViTDet's
# Cascade base recipe [found: detectron2 projects/ViTDet], in the files below.
# Expected: not run on COCO by us. ViTDet-B with MAE weights and plain NMS
# reaches 54.0 box / 46.7 mask AP [found: its README].
# Command, with NNODES=8, NODE_RANK and MASTER_ADDR set on each machine:
# bash tools/dist_train.sh configs/det/beit3_cascade_coco.py 8
# It starts from the released pretraining weights; from this repository's
# Objects365 stage instead with --cfg-options model.backbone.init_cfg=None
# load_from=work_dirs/beit3_cascade_objects365/iter_408349.pth
_base_ = [
    '../_base_/archs.py',
    '../_base_/models/vitdet_backbones.py',
    '../_base_/models/cascade_mask_rcnn_vitdet.py',
    '../_base_/datasets/coco_instance_lsj.py',
    '../_base_/schedules/vitdet_coco_100e.py',
    '../_base_/tta/instance_tta.py',
    '../_base_/runtime.py',
]
arch = _base_.archs.base
weights = 'beit3_base_patch16_224.pth'
model = dict(
    backbone=dict(
        **arch,
        **_base_.vitdet_backbones.base,
        init_cfg=dict(type='Pretrained', checkpoint=weights),
    ),
    neck=dict(in_channels=arch.embed_dims),
)
visualizer = dict(type='mmdet.DetLocalVisualizer')
default_hooks = dict(
    checkpoint=dict(interval=5000, by_epoch=False),
    class_count=dict(type='beit3_mm.ClassCountHook'),
    visualization=dict(type='mmdet.DetVisualizationHook'),
)
log_processor = dict(by_epoch=False)
