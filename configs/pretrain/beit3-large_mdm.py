# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
# BEiT-3 large (released form), pretraining on images, texts and pairs.
# Numbers: the authors published no recipe of large; all are those of the
# paper's giant model, Table 11 [tables] and section 2 [text], as base.
# Expected: no figure of pretraining is published, and it was not run on this
# data by us.
# Batch: 6144 = 128 devices x 48, a third of each kind.
# Command, with NNODES=16, NODE_RANK and MASTER_ADDR set on each machine:
# bash tools/dist_train.sh configs/pretrain/beit3-large_mdm.py 8
_base_ = './beit3_mdm.py'
arch = _base_.archs.large
model = dict(backbone=dict(**arch), head=dict(embed_dims=arch.embed_dims))
train_dataloader = dict(batch_size=48)
