# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
# COCO-Stuff-164k, 171 classes: the stage before ADE20K in ViT-Adapter's
# "strategy 2" (its segmentation/configs/ade20k/README.md). File names as mmseg
# configs/_base_/datasets/coco-stuff164k.py. The names here do not collide with
# ADE20K's, from which the COCO-Stuff configs are deltas.
coco_stuff = dict(
    data_root='data/coco_stuff164k/',
    num_classes=171,
    train=dict(
        img_path='images/train2017', seg_map_path='annotations/train2017'
    ),
    val=dict(img_path='images/val2017', seg_map_path='annotations/val2017'),
)
