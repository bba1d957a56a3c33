# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
# A tiny BEiT-3, from random weights, that answers questions on generated
# scenes: 34 answers, on counts, colours, shapes, relations and comparisons.
# Numbers: sizes, schedule and rates are ours, chosen for 10 minutes of 2 CPU
# cores; everything else is the base VQAv2 model's.
# Expected: see projects/shapes/README.md, from a run of this file.
# Command: python projects/shapes/demo.py vqa
_base_ = [
    '../../../../configs/vqa/beit3_fusion_vqav2.py',
    '../_base_/language.py',
]
arch = dict(
    _base_.archs.tiny, img_size=_base_.shapes_size, **_base_.shapes_form
)
load_from = None
model = dict(
    backbone=dict(**arch, **_base_.shapes_text, drop_path_rate=0.0),
    head=dict(embed_dims=arch['embed_dims'], num_answers=34),
)
answer_file = 'work_dirs/shapes/answers.txt'
questions = dict(
    data_root=_base_.shapes_root + 'coco/',
    answer_file=answer_file,
    pipeline=_base_.shapes_pipeline,
)
train_dataloader = dict(
    batch_size=32,
    num_workers=1,
    dataset=dict(
        dataset=dict(
            _delete_=True, **dict(_base_.vqav2_train2014, **questions)
        )
    ),
)
# 900 scenes that are not in train2014
val_dataloader = dict(
    batch_size=64,
    num_workers=1,
    dataset=dict(
        _delete_=True,
        **dict(_base_.vqav2_val2014, **questions, split=None, test_mode=True),
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(answer_file=answer_file)
test_evaluator = dict(
    _delete_=True, type='beit3_mm.VQAScore', answer_file=answer_file
)
lr = 1e-3
train_cfg = dict(max_epochs=4, val_interval=4)
optim_wrapper = dict(
    type='mmengine.OptimWrapper',
    optimizer=dict(lr=lr, betas=(0.9, 0.999), weight_decay=0.05),
    paramwise_cfg=dict(custom_keys={'head.classifier': dict(lr_mult=1.0)}),
    clip_grad=dict(max_norm=3.0),
)
auto_scale_lr = dict(base_batch_size=32)
param_scheduler = [
    _base_.param_scheduler[0],
    dict(_base_.param_scheduler[1], eta_min_ratio=0.01),
]
