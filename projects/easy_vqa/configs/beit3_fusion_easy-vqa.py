# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
# A tiny BEiT-3, from random weights and in the paper's form, that answers the
# questions of easy-vqa: 13 answers, images of 64 x 64 pixels.
# Numbers: sizes, schedule and rates are ours; everything else is the base
# VQAv2 model's. Images are standardised by the mean and the standard deviation
# of the first 600 of training: by BEiT-3's 127.5 the light background is what
# most of a patch says, and shapes are learnt slowly (README.md). Patches of
# 16 pixels: a step takes half the time of patches of 8.
# Expected: see projects/easy_vqa/README.md, from a run of this file.
# Command: in projects/easy_vqa/README.md
_base_ = '../../../configs/vqa/beit3_fusion_vqav2.py'
load_from = None
root = 'work_dirs/easy_vqa/'
tokenizer_file = root + 'easy_vqa.spm'  # 46 pieces
answer_file = root + 'answers.txt'
paper_form = dict(multiway_attention=False, sub_norm=False, num_vl_layers=3)
arch = dict(_base_.archs.tiny, img_size=64, patch_size=16, **paper_form)
model = dict(
    data_preprocessor=dict(mean=[230.2, 230.8, 229.1], std=[50.6, 47.1, 50.9]),
    backbone=dict(
        **arch, vocab_size=48, max_text_positions=66, drop_path_rate=0.0
    ),
    head=dict(embed_dims=arch['embed_dims'], num_answers=13),
)
# Neither cropped nor flipped: a shape may lie at the border, and positions
# cost the small model nothing to learn.
pipeline = [
    dict(type='beit3_mm.LoadImageFromFile'),
    dict(type='beit3_mm.TokenizeText', model_file=tokenizer_file),
    dict(type='beit3_mm.PackMultimodalInputs'),
]
train_set, test_set = (
    dict(
        type='beit3_mm.VQAv2Dataset',
        data_root=root + 'data/',
        question_file=f'{split}_questions.json',
        ann_file=f'{split}_annotations.json',
        answer_file=answer_file,
        data_prefix=dict(img_path=f'{split}/'),
        image_name='{image_id}.png',
        test_mode=split == 'test',
        pipeline=pipeline,
    )
    for split in ('train', 'test')
)
train_dataloader = dict(
    batch_size=64,
    num_workers=1,
    dataset=dict(dataset=dict(_delete_=True, **train_set)),
)
val_dataloader = dict(
    batch_size=128, num_workers=1, dataset=dict(_delete_=True, **test_set)
)
test_dataloader = val_dataloader
val_evaluator = dict(answer_file=answer_file)
test_evaluator = dict(
    _delete_=True, type='beit3_mm.VQAScore', answer_file=answer_file
)
train_cfg = dict(max_epochs=12, val_interval=12)
optim_wrapper = dict(
    type='mmengine.OptimWrapper',
    optimizer=dict(lr=5e-4, betas=(0.9, 0.999), weight_decay=0.05),
    paramwise_cfg=dict(custom_keys={'head.classifier': dict(lr_mult=1.0)}),
    clip_grad=dict(max_norm=3.0),
)
auto_scale_lr = dict(base_batch_size=64)
param_scheduler = [
    _base_.param_scheduler[0],
    dict(_base_.param_scheduler[1], eta_min_ratio=0.01),
]
