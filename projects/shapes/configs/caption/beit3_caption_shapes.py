# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
# A tiny BEiT-3, from random weights, that describes generated scenes.
# Numbers: sizes, schedule and rates are ours, chosen for 10 minutes of 2 CPU
# cores; everything else is the base COCO model's.
# Expected: see projects/shapes/README.md, from a run of this file.
# Command: python projects/shapes/demo.py caption
_base_ = [
    '../../../../configs/caption/beit3_caption_coco.py',
    '../_base_/language.py',
]
# The paper's form, with patches of 16 pixels as base and large have, 8 x 8
form = dict(_base_.shapes_form, patch_size=16)
arch = dict(_base_.archs.tiny, img_size=128, **form)
load_from = None
model = dict(
    backbone=dict(**arch, **_base_.shapes_text, drop_path_rate=0.0),
    head=dict(
        embed_dims=arch['embed_dims'],
        vocab_size=_base_.shapes_text.vocab_size,
    ),
    # the longest caption of the training scenes has 56
    beam_search=dict(max_tokens=58, mask_id=129),
)
root = _base_.shapes_root + 'coco/'
load = dict(type='beit3_mm.LoadImageFromFile')
train_pipeline = [
    load,
    _base_.shapes_tokenize,
    dict(
        type='beit3_mm.MaskText',
        model_file=_base_.shapes_tokenizer,
        mask_prob=0.7,
        mask_special=True,
    ),
    _base_.shapes_pack,
]
train_dataloader = dict(
    batch_size=16,
    num_workers=1,
    dataset=dict(dataset=dict(data_root=root, pipeline=train_pipeline)),
)
val_dataloader = dict(
    batch_size=64,
    num_workers=1,
    dataset=dict(
        data_root=root,
        split=['val', 'test'],
        pipeline=[load, _base_.shapes_pack],
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(model_file=_base_.shapes_tokenizer)
test_evaluator = val_evaluator
train_cfg = dict(max_epochs=4, val_interval=4)
optim_wrapper = dict(
    type='mmengine.OptimWrapper',
    optimizer=dict(lr=5e-4),
    clip_grad=dict(max_norm=3.0),
)
auto_scale_lr = dict(base_batch_size=16)
param_scheduler = [
    _base_.param_scheduler[0],
    dict(_base_.param_scheduler[1], eta_min_ratio=0.01),
]
