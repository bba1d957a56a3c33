# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
# VQAv2 with questions of Visual Genome in the training set: the official
# README's large model at 768 pixels, of whose data the official code shows
# nothing. Ours: questions whose answer is among VQAv2's 3129, without those
# about the images that are held out. Files: docs/data/visual_genome.md.
_base_ = ['./vqav2.py']

visual_genome = dict(
    type='beit3_mm.VisualGenomeQADataset',
    data_root='data/visual_genome/',
    ann_file='question_answers.json',
    image_file='image_data.json',
    answer_file=_base_.answer_file,
    held_out_file=_base_.data_root
    + 'vqa/v2_OpenEnded_mscoco_val2014_questions.json',
    num_held_out=1000,
    pipeline=_base_.train_pipeline,
)
train_dataloader = dict(
    dataset=dict(
        dataset=dict(
            datasets=[
                *_base_.train_dataloader.dataset.dataset.datasets,
                visual_genome,
            ]
        )
    )
)
