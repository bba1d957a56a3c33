# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
# BEiT-3 base (released form), pretraining on images, texts and pairs.
# Numbers: the authors published no recipe of base; all are those of the
# paper's giant model, Table 11 [tables] and section 2 [text], in the files
# below. The tokenizer is BEiT v2's base one [official code: beit2].
# Expected: no figure of pretraining is published, and it was not run on this
# data by us; docs/pretraining.md says what a run logs.
# Batch: 6144 = 64 devices x 96, a third of each kind. With fewer devices
# accumulate gradients: configs/pretrain/README.md.
# Command, with NNODES=8, NODE_RANK and MASTER_ADDR set on each machine:
# bash tools/dist_train.sh configs/pretrain/beit3_mdm.py 8
_base_ = [
    '../_base_/archs.py',
    '../_base_/models/masked_data_modeling.py',
    '../_base_/models/visual_tokenizers.py',
    '../_base_/datasets/pretraining.py',
    '../_base_/schedules/masked_modeling_1m.py',
    '../_base_/runtime.py',
]
arch = _base_.archs.base
model = dict(
    backbone=dict(**arch, drop_path_rate=0.1, with_ffn_cp=True),  # cp: ours
    head=dict(embed_dims=arch.embed_dims),
    visual_tokenizer=_base_.visual_tokenizers.base,
)
train_dataloader = dict(batch_size=96)
auto_scale_lr = dict(base_batch_size=6144, enable=False)
default_hooks = dict(checkpoint=dict(interval=5000, by_epoch=False))
log_processor = dict(by_epoch=False)
