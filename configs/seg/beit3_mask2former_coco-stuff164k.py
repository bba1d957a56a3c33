# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
# BEiT-3 base, ViT-Adapter + Mask2Former on COCO-Stuff-164k: the first stage of
# "strategy 2" of ViT-Adapter [found: czczup/ViT-Adapter], whose result the
# ADE20K config loads; heads of 171 classes start anew there.
# Numbers: beit3_mask2former_ade20k.py's, whose 80k steps ViT-Adapter's
# first stage has too.
# Expected: not run by us, and no figure is published.
# Command, with NNODES=2, NODE_RANK and MASTER_ADDR set on each machine:
# bash tools/dist_train.sh configs/seg/beit3_mask2former_coco-stuff164k.py 8
_base_ = [
    './beit3_mask2former_ade20k.py',
    '../_base_/datasets/coco_stuff164k.py',
]
stuff = _base_.coco_stuff
weights = 'beit3_base_patch16_224.pth'
load_from = None
model = dict(
    backbone=dict(
        vit=dict(init_cfg=dict(type='Pretrained', checkpoint=weights))
    ),
    decode_head=dict(
        num_classes=stuff.num_classes,
        loss_cls=dict(class_weight=[1.0] * stuff.num_classes + [0.1]),
    ),
)
load_mask = dict(_base_.load_mask, num_classes=stuff.num_classes)
masks = {load_mask['type']: load_mask}
pipelines = [
    [masks.get(step.type, step) for step in pipeline]
    for pipeline in (_base_.train_pipeline, _base_.test_pipeline)
]
data = dict(type='mmseg.COCOStuffDataset', data_root=stuff.data_root)
train_dataloader = dict(
    dataset=dict(
        dataset=dict(data, data_prefix=stuff.train, pipeline=pipelines[0])
    )
)
val_dataloader = dict(
    dataset=dict(data, data_prefix=stuff.val, pipeline=pipelines[1])
)
test_dataloader = val_dataloader
tta_pipeline = [dict(step) for step in _base_.tta_pipeline]
tta_pipeline[1]['transforms'][2] = [load_mask]
