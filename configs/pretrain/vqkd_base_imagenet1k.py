# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
# Visual tokenizer of BEiT v2, base size: 8192 codes, learnt from CLIP.
# Numbers: [official code: beit2/TOKENIZER.md, modeling_vqkd.py]: decoder of 1
# layer, 32 channels, decay 0.99, cosine loss, commitment 1.0, 100 epochs,
# warm-up 10, batch 512, betas (0.9, 0.99), weight decay 1e-4, crops of 0.08
# to 1. The rate, 2e-4, and the smallest one, 1e-5, are [unverified]. Dead
# codes are revived, which the official code does not do.
# Expected: the authors report that it uses 100% of the codes [official code:
# beit2/TOKENIZER.md]; not run on ImageNet by us.
# Batch: 512 = 8 devices x 64.
# Command: bash tools/dist_train.sh
# configs/pretrain/vqkd_base_imagenet1k.py 8
_base_ = [
    '../_base_/models/visual_tokenizers.py',
    '../_base_/models/vqkd.py',
    '../_base_/datasets/imagenet.py',
    '../_base_/schedules/finetune_epochs.py',
    '../_base_/runtime.py',
]
trained = dict(num_decoder_layers=1, teacher_dims=512, init_cfg=None)
model = dict(tokenizer=dict(_base_.visual_tokenizers.base, **trained))
pack = dict(type='beit3_mm.PackMultimodalInputs')
load, crop, flip = _base_.train_images[:3]
test_pipeline = [*_base_.test_images, pack]
train_dataloader = dict(
    batch_size=64,
    dataset=dict(dataset=dict(pipeline=[load, crop, flip, pack])),
)
val_dataloader = dict(batch_size=64, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(
    _delete_=True, type='beit3_mm.CodebookUsage', num_codes=8192
)
test_evaluator = val_evaluator
train_cfg = dict(max_epochs=100)
lr = 2e-4
tokens = dict(cls_token=_base_.free, positions=_base_.free)
optim_wrapper = dict(
    optimizer=dict(lr=lr, betas=(0.9, 0.99), weight_decay=1e-4),
    paramwise_cfg=dict(custom_keys=dict(_delete_=True, **tokens)),
)
warm_up, cosine = _base_.param_scheduler
param_scheduler = [
    dict(warm_up, end=10),
    dict(cosine, begin=10, eta_min_ratio=0.05),
]
auto_scale_lr = dict(base_batch_size=512, enable=False)
