# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
# The same from a model that masked data modeling pretrained on scenes
# (projects/shapes): its tokenizer of words and its patches of 14 pixels,
# 8 x 8 of them as from random weights.
# Numbers: as in beit3_fusion_easy-vqa.py.
# Expected: see projects/easy_vqa/README.md, from a run of this file.
# Command: in projects/easy_vqa/README.md
_base_ = './beit3_fusion_easy-vqa.py'
load_from = 'work_dirs/shapes/mdm/iter_2000.pth'
size = 112
model = dict(backbone=dict(img_size=size, patch_size=14, vocab_size=136))
pipeline = [
    dict(type='beit3_mm.LoadImageFromFile'),
    dict(type='mmcv.Resize', scale=(size, size)),
    dict(
        type='beit3_mm.TokenizeText', model_file='work_dirs/shapes/shapes.spm'
    ),
    dict(type='beit3_mm.PackMultimodalInputs'),
]
train_dataloader = dict(dataset=dict(dataset=dict(pipeline=pipeline)))
val_dataloader = dict(dataset=dict(pipeline=pipeline))
test_dataloader = val_dataloader
