# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
# BEiT-3 base, fusion encoder on NLVR2, from the released "indomain" weights,
# which have also been pretrained on COCO and Visual Genome.
# Numbers: the authors' recipe for these weights [official code: get_started/
# get_started_for_nlvr2.md]: lr 5e-4, the rest as beit3_fusion_nlvr2.py.
# Expected: 84.6 on dev, 85.3 on test-P [official code: README.md], of the
# authors; not run on NLVR2 by us.
# Batch: 256 = 8 devices x 32.
# Command: bash tools/dist_train.sh
# configs/nlvr2/beit3_fusion_nlvr2_indomain.py 8
_base_ = './beit3_fusion_nlvr2.py'
load_from = 'beit3_base_indomain_patch16_224.pth'
lr = 5e-4
optim_wrapper = dict(optimizer=dict(lr=lr))
param_scheduler = [
    _base_.param_scheduler[0],
    dict(_base_.param_scheduler[1], eta_min_ratio=_base_.min_lr / lr),
]
