# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
# BEiT-3 giant (the paper's form), dual encoder on Flickr30K retrieval, 420
# pixels, after the contrastive stage on pairs (beit3-giant_dual_pairs.py).
# Numbers: Table 14 [tables]: lr 1e-5, layer decay 0.95, 20 epochs, warm-up 5,
# batch 3k, weight decay 0.05, drop path 0.3; augmentation and smallest rate,
# which it leaves open, are the released recipe's [official code].
# Expected: R@1/5/10 of text retrieval 98.0/100.0/100.0, of image
# retrieval 90.3/98.7/99.5 (Table 5) [tables], of the paper; not run on
# Flickr30K by us.
# Batch: 3072 = 32 devices x 96. On N devices:
# --cfg-options train_dataloader.batch_size=3072/N; memory holds chunk_size.
# Command, with NNODES=4, NODE_RANK and MASTER_ADDR set on each machine:
# bash tools/dist_train.sh configs/retrieval/beit3-giant_dual_flickr30k.py 8
_base_ = './beit3_dual_flickr30k.py'
arch = dict(_base_.archs.giant, img_size=420)
load_from = 'work_dirs/beit3-giant_dual_pairs/epoch_5.pth'
model = dict(
    backbone=dict(**arch, drop_path_rate=0.3),
    head=dict(embed_dims=arch['embed_dims']),
    chunk_size=16,
)
size = dict(scale=(420, 420))
train_pipeline, test_pipeline = (
    [dict(step, **size) if 'scale' in step else step for step in steps]
    for steps in (_base_.train_pipeline, _base_.test_pipeline)
)
train_dataloader = dict(
    batch_size=96, dataset=dict(dataset=dict(pipeline=train_pipeline))
)
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
lr = 1e-5
optim_wrapper = dict(
    optimizer=dict(lr=lr), paramwise_cfg=dict(layer_decay_rate=0.95)
)
param_scheduler = [
    _base_.param_scheduler[0],
    dict(_base_.param_scheduler[1], eta_min_ratio=_base_.min_lr / lr),
]
