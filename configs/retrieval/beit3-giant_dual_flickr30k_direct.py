# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
# BEiT-3 giant (the paper's form), dual encoder on Flickr30K retrieval, 420
# pixels, fine-tuned directly, without the contrastive stage on pairs.
# Numbers: Table 14 [tables], as beit3-giant_dual_flickr30k.py.
# Expected: R@1/5/10 of text retrieval 97.5/99.9/100.0, of image
# retrieval 89.1/98.6/99.3 (Table 10) [tables], of the paper; not run on
# Flickr30K by us.
# Batch: 3072 = 32 devices x 96.
# Command, with NNODES=4, NODE_RANK and MASTER_ADDR set on each machine:
# bash tools/dist_train.sh
# configs/retrieval/beit3-giant_dual_flickr30k_direct.py 8
# It starts from random weights, as no giant ones were ever released, unless
# --cfg-options load_from=CHECKPOINT names a pretraining checkpoint.
_base_ = './beit3-giant_dual_flickr30k.py'
load_from = None
