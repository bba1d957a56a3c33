# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
# The corpora of Table 3: images, texts and pairs, a third of each batch each.
# Files: docs/data/pretraining.md.
# Numbers: 224 pixels, crop, flip, colour jitter 0.4; 40% of the patches, 15%
# of a text and 50% of a pair's text are masked: section 2 [text] and Table 11
# [tables]. Smallest crop 0.2 and one geometry of both views: [official code:
# beit2, PRETRAINING.md and datasets.py]; so is what the jitter changes.
# 64 ids of a caption: [official code: beit3]. 512 of a text: RoBERTa's; the
# paper does not say. It is silent on whether pairs are augmented otherwise.
data_root = 'data/'
tokenizer_file = 'data/beit3.spm'
image_size = (224, 224)
text_tokens, pair_tokens = 512, 64  # the longest

views = dict(
    type='beit3_mm.TwoViews',
    img_size=image_size[0],
    tokenizer_img_size=224,  # both with patches of 16 pixels
    crop_ratio_range=(0.2, 1.0),
)
mask_patches = dict(
    type='beit3_mm.BlockMask', patch_size=16, mask_ratio=0.4, min_patches=16
)
image_steps = [
    dict(type='beit3_mm.LoadImageFromFile', skip_damaged=True),
    dict(
        type='mmpretrain.ColorJitter',
        brightness=0.4,
        contrast=0.4,
        saturation=0.4,
    ),
    dict(type='mmcv.RandomFlip', prob=0.5),
    views,
    mask_patches,
]
caption_steps = [
    dict(
        type='beit3_mm.TokenizeText',
        model_file=tokenizer_file,
        max_tokens=pair_tokens,
    ),
    dict(
        type='beit3_mm.MaskText',
        model_file=tokenizer_file,
        mask_prob=0.5,
        mask_special=False,
    ),
]
pack = dict(type='beit3_mm.PackMultimodalInputs')
image_pipeline = [*image_steps, pack]
pair_pipeline = [*image_steps, *caption_steps, pack]
text_pipeline = [
    dict(
        type='beit3_mm.PackText',
        model_file=tokenizer_file,
        max_tokens=text_tokens,
    ),
    dict(
        type='beit3_mm.MaskText',
        model_file=tokenizer_file,
        mask_prob=0.15,
        mask_special=False,
    ),
    pack,
]

image_dataset = dict(
    type='beit3_mm.ImageFolderDataset',
    data_root=data_root + 'imagenet21k/train/',
    pipeline=image_pipeline,
)
text_dataset = dict(
    type='beit3_mm.TextCorpusDataset',
    data_root=data_root + 'text/',
    files=[
        'wikipedia/*.txt',
        'bookcorpus/*.txt',
        'openwebtext/*.txt',
        'cc_news/*.txt',
        'stories/*.txt',
    ],
    bytes_per_sample=2300,  # about 512 ids of English [ours, a guess]
    pipeline=text_pipeline,
)
pair_datasets = [
    dict(
        type='beit3_mm.ShardDataset',
        data_root=data_root,
        shards=['cc12m/*.tar', 'cc3m/*.tar', 'sbu/*.tar'],
        with_text=True,
        pipeline=pair_pipeline,
    ),
    dict(
        type='beit3_mm.KarpathyDataset',
        data_root=data_root + 'coco/',
        ann_file='dataset_coco.json',
        split=['train', 'restval'],
        pipeline=pair_pipeline,
    ),
    dict(
        type='beit3_mm.PairListDataset',
        data_root=data_root + 'visual_genome/',
        ann_file='pairs.tsv',
        pipeline=pair_pipeline,
    ),
]
train_dataloader = dict(
    num_workers=8,
    persistent_workers=True,
    collate_fn=dict(type='beit3_mm.collate_kinds'),
    sampler=dict(
        type='beit3_mm.MixedSampler', ratio=dict(image=1, text=1, pair=1)
    ),
    dataset=dict(
        type='beit3_mm.SeededDataset',
        dataset=dict(
            type='beit3_mm.MixedDataset',
            datasets=dict(
                image=image_dataset, text=text_dataset, pair=pair_datasets
            ),
        ),
    ),
)
# What cannot be read is replaced, counted, and named in skipped.txt.
custom_hooks = [dict(type='beit3_mm.SkippedSamplesHook', interval=500)]
val_dataloader = None
val_evaluator = None
test_dataloader = None
test_evaluator = None

# For a student with patches of 14 pixels: the tokenizer's patches of 16 make
# the same 16 x 16 grid of 256 pixels [derived]. A final config takes them by
#     train_dataloader = dict(
#         dataset=dict(dataset=dict(datasets=_base_.datasets_p14)))
image_steps_p14 = [
    *image_steps[:-2],
    dict(views, tokenizer_img_size=256),
    dict(mask_patches, patch_size=14),
]
datasets_p14 = dict(
    image=dict(pipeline=[*image_steps_p14, pack]),
    pair=[
        dict(part, pipeline=[*image_steps_p14, *caption_steps, pack])
        for part in pair_datasets
    ],
)
