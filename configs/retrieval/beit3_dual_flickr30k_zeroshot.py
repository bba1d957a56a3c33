# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
# BEiT-3 base (released form, "itc" weights), retrieval on Flickr30K without
# fine-tuning, 224 pixels.
# Numbers: the pixels of the contrastive stage [text: Appendix A]; nothing is
# trained (training this file would be fine-tuning at 224 pixels).
# Expected: no figure is published, and it was not run on Flickr30K by us.
# Batch: 3072 = 8 devices x 384, for training only.
# Command:
# python tools/test.py configs/retrieval/beit3_dual_flickr30k_zeroshot.py
# beit3_base_itc_patch16_224.pth
_base_ = './beit3_dual_flickr30k.py'
model = dict(backbone=dict(img_size=224))
size = dict(scale=(224, 224))
train_pipeline, test_pipeline = (
    [dict(step, **size) if 'scale' in step else step for step in steps]
    for steps in (_base_.train_pipeline, _base_.test_pipeline)
)
train_dataloader = dict(dataset=dict(dataset=dict(pipeline=train_pipeline)))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
