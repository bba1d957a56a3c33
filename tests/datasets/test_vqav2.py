# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import json

import pytest
from dataset_reading import infos, messages
from mmengine.dataset import ConcatDataset
from mmengine.registry import DATASETS

from beit3_mm.datasets import VQAv2Dataset
from beit3_mm.datasets.vqav2 import draw_held_out, soft_targets

NAME = 'COCO_val2014_{image_id:012d}.jpg'
ANSWERS = ['yes', 'no', 'red']


def question(number, image_id=7, text='is it red?'):
    return dict(question_id=number, image_id=image_id, question=text)


def annotation(number, *answers, **fields):
    """Ten answers, the last of which is repeated."""
    answers = [*answers, *[answers[-1]] * (10 - len(answers))]
    return dict(
        question_id=number,
        answers=[dict(answer=x, answer_id=i) for i, x in enumerate(answers)],
        **fields,
    )


@pytest.fixture
def build(tmp_path, write_json):
    """Builds a data set of questions and annotations, None for no file."""
    (tmp_path / 'val2014').mkdir()
    (tmp_path / 'answers.txt').write_text('\n'.join(ANSWERS) + '\n')

    def build(questions, annotations=None, **kwargs):
        if annotations is not None:
            content = dict(annotations=annotations)
            kwargs['ann_file'] = write_json('vqa/annotations.json', content)
            kwargs['answer_file'] = str(tmp_path / 'answers.txt')
        return VQAv2Dataset(
            data_root=str(tmp_path),
            question_file=write_json(
                'vqa/questions.json', dict(questions=questions)
            ),
            data_prefix=dict(img_path='val2014/'),
            **dict(image_name=NAME) | kwargs,
        )

    return build


def test_training_has_soft_targets(build, tmp_path):
    dataset = build(
        [question(70), question(71, 8)],
        [annotation(71, 'yes', 'no', 'no', 'blue'), annotation(70, 'red')],
    )
    assert infos(dataset) == [
        dict(
            img_path=f'{tmp_path}/val2014/COCO_val2014_{image_id:012d}.jpg',
            image_id=image_id,
            question_id=number,
            text='is it red?',
            answer_labels=labels,
            answer_scores=scores,
        )
        for number, image_id, labels, scores in (
            (70, 7, [2], [1.0]),
            (71, 8, [0, 1], [0.3, 0.6]),
        )
    ]
    assert dataset.metainfo['classes'] == tuple(ANSWERS)


@pytest.mark.parametrize(
    'count, score', [(1, 0.3), (2, 0.6), (3, 0.9), (4, 1.0), (10, 1.0)]
)
def test_soft_scores(count, score):
    given = ['red'] * count + ['Red'] * (10 - count)
    targets = soft_targets(given, dict(yes=0, red=2))
    assert targets == dict(answer_labels=[2], answer_scores=[score])


def test_evaluation_keeps_every_question_and_the_answers_as_they_are(build):
    answers = ['Blue', *['a T-shirt'] * 9]
    dataset = build(
        [question(70)],
        [annotation(70, *answers, answer_type='other')],
        test_mode=True,
    )
    (sample,) = infos(dataset)
    assert sample['answers'] == answers
    assert sample['answer_type'] == 'other'
    assert 'answer_labels' not in sample


def test_a_test_set_has_questions_alone(build):
    (sample,) = infos(build([question(70)], test_mode=True))
    assert set(sample) == {'img_path', 'image_id', 'question_id', 'text'}


def test_questions_without_a_listed_answer_are_left_out(build, log):
    questions = [question(70), question(71), question(72)]
    annotations = [annotation(i, 'blue') for i in (70, 72)]
    dataset = build(questions, [*annotations, annotation(71, 'no')])
    assert [x['question_id'] for x in infos(dataset)] == [71]
    (text,) = messages(log)
    assert 'questions.json: left out 2 of 3 questions, none of whose' in text
    with pytest.raises(ValueError, match='of 1 questions none has an answer'):
        build([question(70)], [annotation(70, 'Red')])


def test_held_out_images(build, tmp_path):
    questions = [question(10 * i + k, i) for i in range(30) for k in (0, 1)]
    annotations = [annotation(x['question_id'], 'no') for x in questions]
    parts = [
        infos(build(questions, annotations, split=split, num_held_out=5))
        for split in ('held_out', 'train')
    ]
    images = [{x['image_id'] for x in part} for part in parts]
    assert [len(x) for x in images] == [5, 25]
    assert not images[0] & images[1]
    assert [len(part) for part in parts] == [10, 50]
    # The same for each run and machine, whatever the order of the file
    assert images[0] == {8, 9, 13, 17, 29}
    backwards = build(
        questions[::-1], annotations, split='held_out', num_held_out=5
    )
    assert {x['image_id'] for x in infos(backwards)} == images[0]
    some = draw_held_out(images[0] | images[1], 4, 'file')
    assert some < images[0]


@pytest.fixture
def vqa_of_shapes(shapes, tmp_path):
    from beit3_mm.evaluation.vqa_answers import (
        count_answers,
        list_answers,
    )

    root = shapes / 'coco'
    path = root / 'vqa/v2_mscoco_train2014_annotations.json'
    answers = list_answers(
        count_answers(json.loads(path.read_text())['annotations']), 1
    )
    (tmp_path / 'answers.txt').write_text('\n'.join(answers) + '\n')

    def build(part, ann_part='', folder=None, **kwargs):
        folder = folder or part
        config = dict(
            type='beit3_mm.VQAv2Dataset',
            data_root=str(root),
            question_file=f'vqa/v2_OpenEnded_mscoco_{part}_questions.json',
            answer_file=str(tmp_path / 'answers.txt'),
            data_prefix=dict(img_path=f'{folder}/'),
            image_name=f'COCO_{folder}_{{image_id:012d}}.jpg',
            **kwargs,
        )
        if ann_part:
            config['ann_file'] = f'vqa/v2_mscoco_{part}_annotations.json'
        return DATASETS.build(config)

    return root, build


def test_generated_scenes(vqa_of_shapes):
    root, build = vqa_of_shapes
    train = build('train2014', 'train2014')
    path = root / 'vqa/v2_OpenEnded_mscoco_train2014_questions.json'
    questions = json.loads(path.read_text())['questions']
    samples = infos(train)
    assert [x['text'] for x in samples] == [x['question'] for x in questions]
    for sample in samples:
        assert sample['answer_scores'][0] > 0
        assert (root / sample['img_path']).is_file()
    val = dict(part='val2014', ann_part='val2014', num_held_out=3)
    both = ConcatDataset([train, build(**val, split='train')])
    assert len(both) > len(train)
    held_out = infos(build(**val, split='held_out', test_mode=True))
    assert len({x['image_id'] for x in held_out}) == 3
    assert all(len(x['answers']) == 10 for x in held_out)
    test = infos(build('test-dev2015', folder='test2015', test_mode=True))
    assert test and all((root / x['img_path']).is_file() for x in test)


def test_question_ids_stand_once(build):
    questions = [question(70), question(71)]
    with pytest.raises(
        ValueError, match=r'questions\[2\]: question_id 70 stands at .*\[0\] a'
    ):
        build([*questions, question(70, 9)], test_mode=True)
    annotations = [annotation(i, 'no') for i in (70, 71, 71)]
    with pytest.raises(
        ValueError, match=r'annotations\[2\]: question_id 71 stands .*\[1\] al'
    ):
        build(questions, annotations)


def test_files_of_different_questions_are_refused(build):
    annotations = [annotation(70, 'no'), annotation(71, 'no')]
    with pytest.raises(
        ValueError, match=r'\[1\]: question_id 71 is not in .*'
    ):
        build([question(70)], annotations)
    questions = [question(i) for i in (69, 70, 71)]
    with pytest.raises(
        ValueError, match=r'no answers to 1 of 3 .* such as que'
    ):
        build(questions, annotations)


def test_another_file_is_refused(build):
    with pytest.raises(ValueError, match="'question' must be str, not None"):
        build([question(70, text=None)], test_mode=True)
    broken = dict(question_id=70, answers=['no'])
    with pytest.raises(ValueError, match="object with 'answer', not 'no'"):
        build([question(70)], [broken])
    few = dict(question_id=70, answers=[dict(answer='no')] * 3)
    with pytest.raises(
        ValueError, match=r'\[0\]: the VQA score needs 4 or mo'
    ):
        build([question(70)], [few], test_mode=True)


def test_an_empty_question_is_left_out_of_training_only(build):
    questions = [question(70, text='  '), question(71)]
    annotations = [annotation(i, 'no') for i in (70, 71)]
    assert [
        x['question_id'] for x in infos(build(questions, annotations))
    ] == [71]
    assert len(build(questions, annotations, test_mode=True)) == 2


def test_arguments_are_checked(build):
    with pytest.raises(ValueError, match="split='val' must be one of"):
        build([], split='val')
    with pytest.raises(ValueError, match='training needs ann_file and answer'):
        build([question(70)])
    with pytest.raises(
        ValueError, match=r'=1 must .* 1 images of .*ions\.json'
    ):
        build([question(70)], test_mode=True, split='train', num_held_out=1)
    with pytest.raises(ValueError, match=r"image_name='a\.jpg' must hold the"):
        build([question(70)], test_mode=True, image_name='a.jpg')
    for name in ('{image_id}{id}.jpg', '{image_id:012d}.jpg'):
        with pytest.raises(ValueError, match=r"cannot name image 'a' \(.*\[0"):
            build([question(70, 'a')], test_mode=True, image_name=name)


def test_a_missing_list_of_answers_is_named(build, tmp_path):
    (tmp_path / 'answers.txt').unlink()
    with pytest.raises(FileNotFoundError, match=r'answers\.txt'):
        build([question(70)], [annotation(70, 'no')])
