# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
# Generated scenes for masked data modeling, in the place of the corpora of
# configs/_base_/datasets/pretraining.py. A final config takes them by
#     train_dataloader = dict(
#         dataset=dict(dataset=dict(
#             datasets=dict(_delete_=True, **_base_.shapes_corpora))))
# Numbers are ours. Images with captions are neither flipped nor cropped:
# captions say where things are, and count them. Images alone are. Nothing
# changes colours, which are named.
_base_ = './language.py'

shapes_views = dict(
    type='beit3_mm.TwoViews',
    img_size=_base_.shapes_size,  # 10 x 10 patches of 14 pixels
    tokenizer_img_size=160,  # 10 x 10 patches of 16 pixels
    crop_ratio_range=(1.0, 1.0),
)
shapes_mask_patches = dict(
    type='beit3_mm.BlockMask', patch_size=14, mask_ratio=0.4
)
shapes_image_pipeline = [
    dict(type='beit3_mm.LoadImageFromFile', skip_damaged=True),
    dict(type='mmcv.RandomFlip', prob=0.5),
    dict(shapes_views, crop_ratio_range=(0.5, 1.0)),
    shapes_mask_patches,
    _base_.shapes_pack,
]
shapes_text_pipeline = [
    dict(
        type='beit3_mm.PackText',
        model_file=_base_.shapes_tokenizer,
        max_tokens=64,
    ),
    dict(
        type='beit3_mm.MaskText',
        model_file=_base_.shapes_tokenizer,
        mask_prob=0.15,
        mask_special=False,
    ),
    _base_.shapes_pack,
]
shapes_pair_pipeline = [
    dict(type='beit3_mm.LoadImageFromFile', skip_damaged=True),
    shapes_views,
    shapes_mask_patches,
    _base_.shapes_tokenize,
    dict(
        type='beit3_mm.MaskText',
        model_file=_base_.shapes_tokenizer,
        mask_prob=0.5,
        mask_special=False,
    ),
    _base_.shapes_pack,
]
shapes_corpora = dict(
    image=[
        dict(
            type='beit3_mm.ImageFolderDataset',
            data_root=_base_.shapes_root + folder,
            pipeline=shapes_image_pipeline,
        )
        for folder in ('coco/train2017', 'imagenet/train')
    ],
    text=dict(
        type='beit3_mm.TextCorpusDataset',
        data_root=_base_.shapes_root,
        files='text/train.txt',
        bytes_per_sample=170,  # of 64 ids
        pipeline=shapes_text_pipeline,
    ),
    pair=dict(
        type='beit3_mm.KarpathyDataset',
        data_root=_base_.shapes_root + 'coco/',
        ann_file='dataset_coco.json',
        split='train',
        pipeline=shapes_pair_pipeline,
    ),
)
