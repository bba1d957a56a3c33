# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
# VQAv2: trained on train2014 and val2014 but for 1000 images of the latter,
# which are for validation; tested on test-dev, whose answers are not public.
# Files, and test-std: docs/data/vqav2.md. Numbers: unilm/beit3,
# get_started_for_vqav2.md and datasets.py [official code]: 480 pixels,
# RandAugment, 3129 answers.
_base_ = ['./vl_pipelines.py']
data_root = 'data/coco/'
tokenizer_file = 'data/beit3.spm'
answer_file = 'data/coco/vqa/answers.txt'
image_size = _base_.vl_image_size

texts_and_pack = [
    dict(type='beit3_mm.TokenizeText', model_file=tokenizer_file),
    dict(type='beit3_mm.PackMultimodalInputs'),
]
train_pipeline = [*_base_.vl_train_images_randaug, *texts_and_pack]
test_pipeline = [*_base_.vl_test_images, *texts_and_pack]

vqav2_train2014 = dict(
    type='beit3_mm.VQAv2Dataset',
    data_root=data_root,
    question_file='vqa/v2_OpenEnded_mscoco_train2014_questions.json',
    ann_file='vqa/v2_mscoco_train2014_annotations.json',
    answer_file=answer_file,
    data_prefix=dict(img_path='train2014/'),
    image_name='COCO_train2014_{image_id:012d}.jpg',
    pipeline=train_pipeline,
)
vqav2_val2014 = dict(
    vqav2_train2014,
    question_file='vqa/v2_OpenEnded_mscoco_val2014_questions.json',
    ann_file='vqa/v2_mscoco_val2014_annotations.json',
    num_held_out=1000,
    data_prefix=dict(img_path='val2014/'),
    image_name='COCO_val2014_{image_id:012d}.jpg',
)

train_dataloader = dict(
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='beit3_mm.EpochSampler', shuffle=True),
    dataset=dict(
        type='beit3_mm.SeededDataset',
        dataset=dict(
            type='mmengine.ConcatDataset',
            datasets=[vqav2_train2014, dict(vqav2_val2014, split='train')],
        ),
    ),
)
val_dataloader = dict(
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='mmengine.DefaultSampler', shuffle=False),
    dataset=dict(
        vqav2_val2014,
        split='held_out',
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = dict(
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='mmengine.DefaultSampler', shuffle=False),
    dataset=dict(
        type='beit3_mm.VQAv2Dataset',
        data_root=data_root,
        question_file='vqa/v2_OpenEnded_mscoco_test-dev2015_questions.json',
        data_prefix=dict(img_path='test2015/'),
        image_name='COCO_test2015_{image_id:012d}.jpg',
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
val_evaluator = dict(type='beit3_mm.VQAScore', answer_file=answer_file)
test_evaluator = dict(
    type='beit3_mm.VQAScore',
    answer_file=answer_file,
    format_only=True,
    outfile_prefix='work_dirs/vqav2_test-dev',
)
