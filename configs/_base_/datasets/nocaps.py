# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
# NoCaps: trained on COCO's captions (coco_caption.py), evaluated on the 4500
# validation images of NoCaps, whose captions are public. For those of the
# test server see docs/data/nocaps.md.
_base_ = ['./coco_caption.py']
data_root = 'data/nocaps/'  # of the evaluation

val_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='beit3_mm.NoCapsDataset',
        data_root=data_root,
        ann_file='nocaps_val_4500_captions.json',
        data_prefix=dict(img_path='val/'),
        test_mode=True,
        pipeline=_base_.test_pipeline,
    ),
)
test_dataloader = val_dataloader
