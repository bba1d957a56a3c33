# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
# BEiT-3 giant (the paper's form), contrastive stage between pretraining and
# retrieval, on the pairs of pretraining, 224 pixels; validated, without
# fine-tuning, on Flickr30K.
# Numbers: Appendix A [text]: lr 3e-5, layer decay 0.95, 5 epochs, warm-up 1,
# batch 16k, weight decay 0.05, drop path 0.3; augmentation and smallest rate,
# which it leaves open, are the released recipe's [official code].
# Expected: on Flickr30K R@1/5/10 of text retrieval 94.9/99.9/100.0, of image
# retrieval 81.5/95.6/97.8 (Table 6) [tables], of the paper; not run by us.
# Batch: 16384 = 64 devices x 256. On N devices:
# --cfg-options train_dataloader.batch_size=16384/N; memory holds chunk_size.
# Command, with NNODES=8, NODE_RANK and MASTER_ADDR set on each machine:
# bash tools/dist_train.sh configs/retrieval/beit3-giant_dual_pairs.py 8
# It starts from random weights, as no giant ones were ever released, unless
# --cfg-options load_from=CHECKPOINT names a pretraining checkpoint.
_base_ = './beit3_dual_flickr30k_zeroshot.py'
arch = _base_.archs.giant
load_from = None
model = dict(
    backbone=dict(**arch, drop_path_rate=0.3),
    head=dict(embed_dims=arch.embed_dims),
)
train_dataloader = dict(
    batch_size=256,
    dataset=dict(
        dataset=dict(
            _delete_=True,
            type='beit3_mm.IndexFileDataset',
            data_root='data/pairs/',
            ann_file='pairs.train.jsonl',
            pipeline=_base_.train_pipeline,
        )
    ),
)
train_cfg = dict(max_epochs=5)
lr = 3e-5
optim_wrapper = dict(
    optimizer=dict(lr=lr), paramwise_cfg=dict(layer_decay_rate=0.95)
)
warm_up, cosine = _base_.param_scheduler
param_scheduler = [
    dict(warm_up, end=1),
    dict(cosine, begin=1, eta_min_ratio=_base_.min_lr / lr),
]
auto_scale_lr = dict(base_batch_size=16384)
