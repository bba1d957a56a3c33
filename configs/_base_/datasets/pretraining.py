# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
# Images, texts and pairs for masked data modeling. Files:
# docs/data/pretraining.md. Numbers: arXiv 2208.10442, section 2.2 [text]: 15%
# of texts, 50% of the texts of pairs and 40% of the patches are masked; a
# third of a batch of each kind (Table 11) [tables]; colour jitter 0.4
# (Table 11) [tables], flips and crops of BEiT v2, from 20% of the area
# [official code: beit2, datasets.py, PRETRAINING.md].
# Sizes are those of base and large; another one, of a whole pipeline:
#     [dict(step, **steps.get(step.type, {}))
#      for step in _base_.image_pipeline]
tokenizer_file = 'data/beit3.spm'
# Longest texts, special ids included: the paper is silent. 64 is that of the
# released fine-tuning [official code: get_started/*.md]; 512 is ours.
text_tokens = 512
pair_tokens = 64

image_steps = [
    dict(type='beit3_mm.LoadImageFromFile', skip_damaged=True),
    dict(
        type='mmpretrain.ColorJitter',
        brightness=0.4,
        contrast=0.4,
        saturation=0.4,
    ),
    dict(type='mmcv.RandomFlip', prob=0.5),
    dict(
        type='beit3_mm.TwoViews',
        img_size=224,
        tokenizer_img_size=224,
        crop_ratio_range=(0.2, 1.0),
    ),
    dict(type='beit3_mm.BlockMask', patch_size=16, mask_ratio=0.4),
]
mask_text = dict(
    type='beit3_mm.MaskText', model_file=tokenizer_file, mask_special=False
)
pack = dict(type='beit3_mm.PackMultimodalInputs')

image_pipeline = [*image_steps, pack]
text_pipeline = [
    dict(
        type='beit3_mm.PackText',
        model_file=tokenizer_file,
        max_tokens=text_tokens,
    ),
    dict(mask_text, mask_prob=0.15),
    pack,
]
pair_pipeline = [
    *image_steps,
    dict(
        type='beit3_mm.TokenizeText',
        model_file=tokenizer_file,
        max_tokens=pair_tokens,
    ),
    dict(mask_text, mask_prob=0.5),
    pack,
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
                image=dict(
                    type='beit3_mm.ImageFolderDataset',
                    data_root='data/imagenet21k/train/',
                    pipeline=image_pipeline,
                ),
                text=dict(
                    type='beit3_mm.TextCorpusDataset',
                    data_root='data/text/',
                    files='**/*.txt',
                    pipeline=text_pipeline,
                ),
                pair=dict(
                    type='beit3_mm.PairListDataset',
                    data_root='data/pairs/',
                    ann_file='pairs.train.jsonl',
                    pipeline=pair_pipeline,
                ),
            ),
        ),
    ),
)
val_dataloader = None
test_dataloader = None
val_evaluator = None
test_evaluator = None
