# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
# BEiT-3 base, Cascade R-CNN on Objects365 v2 (boxes only): the first stage
# whose result the COCO configs load; heads of 365 classes start anew there.
# Numbers: 1024 pixels, 15 epochs, lr 1e-4 of Table 16 [tables]; the rest is
# beit3_cascade_coco.py's. The paper is silent on the version of Objects365
# (v2: EVA-01 [found]), on mask losses (off: there are no masks) and on where
# the rate drops (8/9 and 0.963 of the steps, as ViTDet [found]).
# Expected: not run by us, and no figure is published.
# Command, with NNODES=8, NODE_RANK and MASTER_ADDR set on each machine:
# bash tools/dist_train.sh configs/det/beit3_cascade_objects365.py 8
_base_ = ['./beit3_cascade_coco.py', '../_base_/datasets/objects365v2.py']
o365 = _base_.objects365
box_heads = [
    dict(head, num_classes=o365.num_classes)
    for head in _base_.model.roi_head.bbox_head
]
model = dict(
    roi_head=dict(bbox_head=box_heads, mask_head=None, mask_roi_extractor=None)
)
boxes = {'mmdet.LoadAnnotations': dict(with_mask=False)}
pipelines = [
    [dict(step, **boxes.get(step.type, {})) for step in pipeline]
    for pipeline in (_base_.train_pipeline, _base_.test_pipeline)
]
data = dict(type='beit3_mm.Objects365V2Dataset', data_root=o365.data_root)
train_dataloader = dict(
    dataset=dict(dataset=dict(data, **o365.train, pipeline=pipelines[0]))
)
val_dataloader = dict(dataset=dict(data, **o365.val, pipeline=pipelines[1]))
test_dataloader = val_dataloader
val_evaluator = dict(
    ann_file=o365.data_root + o365.val.ann_file, metric='bbox'
)
test_evaluator = val_evaluator
train_cfg = dict(max_iters=408349)  # 15 epochs x 1,742,289 images / 64
param_scheduler = [
    _base_.param_scheduler[0],
    dict(_base_.param_scheduler[1], milestones=[362977, 393240]),
]
