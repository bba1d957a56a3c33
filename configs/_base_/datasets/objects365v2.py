# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
# Objects365 v2: boxes only, 365 classes. The paper does not say which version
# it uses; EVA-01 (baaivision/EVA, det) uses v2. File names as mmdet's
# configs/_base_/datasets/objects365v2_detection.py. The names here do not
# collide with COCO's, from which the Objects365 configs are deltas.
objects365 = dict(
    data_root='data/objects365v2/',
    num_classes=365,
    train=dict(
        ann_file='annotations/zhiyuan_objv2_train.json',
        data_prefix=dict(img='train/'),
    ),
    val=dict(
        ann_file='annotations/zhiyuan_objv2_val.json',
        data_prefix=dict(img='val/'),
    ),
)
