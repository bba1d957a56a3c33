# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
# A tiny BEiT-3 in the paper's form, pretrained on generated scenes: images,
# texts and pairs in each step.
# Numbers: sizes, schedule and rates are ours, chosen for 30 minutes of 2 CPU
# cores (with nothing beside it, 30 to 35); everything else is the base
# model's. 15%, 50% and 40% are masked, as in the paper.
# Expected: see projects/shapes/README.md, from a run of this file.
# Command: in projects/shapes/README.md; vqkd_shapes.py trains its tokenizer
_base_ = [
    '../../../../configs/pretrain/beit3_mdm.py',
    '../_base_/pretraining.py',
]
arch = dict(
    _base_.archs.tiny, img_size=_base_.shapes_size, **_base_.shapes_form
)
num_codes = 512
model = dict(
    backbone=dict(
        **arch,
        **_base_.shapes_text,
        drop_path_rate=0.0,
        with_ffn_cp=False,  # memory is plenty
    ),
    head=dict(
        embed_dims=arch['embed_dims'],
        vocab_size=_base_.shapes_text.vocab_size,
        num_visual_codes=num_codes,
    ),
    visual_tokenizer=dict(
        img_size=160,
        embed_dims=128,
        num_layers=4,
        num_heads=4,
        feedforward_channels=512,
        num_codes=num_codes,
        init_cfg=dict(checkpoint='work_dirs/shapes/vqkd/epoch_8.pth'),
    ),
)
train_dataloader = dict(
    batch_size=96,
    num_workers=1,
    dataset=dict(
        dataset=dict(datasets=dict(_delete_=True, **_base_.shapes_corpora))
    ),
)
max_iters = 2000
warm_up, cosine = _base_.param_scheduler
train_cfg = dict(max_iters=max_iters)
optim_wrapper = dict(type='mmengine.OptimWrapper')
param_scheduler = [
    dict(warm_up, end=100),
    dict(cosine, begin=100, end=max_iters),
]
auto_scale_lr = dict(base_batch_size=96)
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(interval=200))
