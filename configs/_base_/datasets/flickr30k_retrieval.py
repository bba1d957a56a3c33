# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
# Flickr30K in Karpathy's splits, for retrieval: 29k training images, 1014 for
# validation, 1k for the test. Files: docs/data/flickr30k.md. Numbers: as
# COCO's (coco_retrieval.py) [official code].
_base_ = ['./coco_retrieval.py']
data_root = 'data/flickr30k/'

flickr30k = dict(
    data_root=data_root,
    ann_file='dataset_flickr30k.json',
    data_prefix=dict(img_path='flickr30k-images/'),
)
train_dataloader = dict(dataset=dict(dataset=dict(flickr30k, split='train')))
val_dataloader = dict(dataset=flickr30k)
test_dataloader = dict(dataset=flickr30k)
