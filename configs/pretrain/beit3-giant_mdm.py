# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
# BEiT-3 giant (the paper's form), pretraining on images, texts and pairs.
# Numbers: Table 11 [tables] and section 2 [text]: 1M steps, 10k of warm-up,
# batch 2048 images + 2048 texts + 2048 pairs, AdamW 0.9/0.98, eps 1e-6, lr
# 1e-3, weight decay 0.05, clipping 3.0, drop path 0.1, 224 pixels, patch 14.
# The paper's tokenizer is of large size and was never published [issue:
# microsoft/unilm#1157]: this is BEiT v2's base one, on 256 pixels, whose
# patches of 16 make the same 16 x 16 grid [derived].
# Expected: no figure of pretraining is published; what the paper's model
# reaches on each task stands in the configs of the tasks. Not run by us.
# Batch: 6144 = 256 devices x 24, a third of each kind; the authors had 256
# devices [issue: microsoft/unilm#930].
# Command, with NNODES=32, NODE_RANK and MASTER_ADDR set on each machine:
# bash tools/dist_train.sh configs/pretrain/beit3-giant_mdm.py 8
_base_ = './beit3_mdm.py'
arch = _base_.archs.giant
model = dict(
    # cp, of whole layers: ours
    backbone=dict(**arch, with_cp=True, with_ffn_cp=False),
    head=dict(embed_dims=arch.embed_dims),
)
train_dataloader = dict(
    batch_size=24, dataset=dict(dataset=dict(datasets=_base_.datasets_p14))
)
