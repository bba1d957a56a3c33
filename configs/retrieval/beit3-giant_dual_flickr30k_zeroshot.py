# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
# BEiT-3 giant (the paper's form), retrieval on Flickr30K without fine-tuning,
# 224 pixels: a test of the contrastive stage, beit3-giant_dual_pairs.py.
# Numbers: the pixels of that stage [text: Appendix A].
# Expected: R@1/5/10 of text retrieval 94.9/99.9/100.0, of image retrieval
# 81.5/95.6/97.8 (Table 6) [tables], of the paper; not run on Flickr30K by us.
# Batch: 16384 = 64 devices x 256, for training only.
# Command:
# python tools/test.py configs/retrieval/beit3-giant_dual_flickr30k_zeroshot.py
# work_dirs/beit3-giant_dual_pairs/epoch_5.pth
_base_ = './beit3-giant_dual_pairs.py'
