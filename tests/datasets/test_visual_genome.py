# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import pytest
from dataset_reading import infos, messages
from mmengine.dataset import ConcatDataset

from beit3_mm.datasets import VisualGenomeQADataset, VQAv2Dataset
from beit3_mm.datasets.vqav2 import draw_held_out

URL = 'https://cs.stanford.edu/people/rak248/{}/{}.jpg'
IMAGES = [
    dict(image_id=1, url=URL.format('VG_100K_2', 1), coco_id=None),
    dict(image_id=5, url=URL.format('VG_100K', 5), coco_id=70),
]


def question(image_id, answer, number=3, text='How many?'):
    return dict(image_id=image_id, question=text, answer=answer, qa_id=number)


@pytest.fixture
def build(tmp_path, write_json):
    for folder in ('VG_100K', 'VG_100K_2'):
        (tmp_path / folder).mkdir()
    (tmp_path / 'answers.txt').write_text('yes\n2\n')

    def build(questions, images=IMAGES, **kwargs):
        record = [dict(id=1, qas=questions)]
        return VisualGenomeQADataset(
            data_root=str(tmp_path),
            ann_file=write_json('question_answers.json', record),
            image_file=write_json('image_data.json', images),
            answer_file=str(tmp_path / 'answers.txt'),
            **kwargs,
        )

    return build


def test_questions_with_a_listed_answer(build, tmp_path, log):
    dataset = build(
        [question(1, 'Two.', 9), question(5, 'Yes!', 4), question(5, 'a hat')]
    )
    common = dict(text='How many?', answer_scores=[1.0])
    assert infos(dataset) == [
        dict(
            common,
            img_path=f'{tmp_path}/VG_100K_2/1.jpg',
            image_id=1,
            question_id=9,
            answer_labels=[1],
        ),
        dict(
            common,
            img_path=f'{tmp_path}/VG_100K/5.jpg',
            image_id=5,
            question_id=4,
            answer_labels=[0],
        ),
    ]
    (text,) = messages(log)
    assert 'left out 1 questions whose answer is not in' in text
    assert '0 about images of COCO that are held out; 2 are left' in text


def test_held_out_images_of_coco_stay_unseen(build, tmp_path, write_json):
    ids = range(68, 75)
    name = write_json(
        'val.json', dict(questions=[dict(image_id=i) for i in ids])
    )
    held_out = draw_held_out(set(ids), 3, 'file')
    images = [
        dict(image_id=i, url=URL.format('VG_100K', i), coco_id=i) for i in ids
    ]
    dataset = build(
        [question(i, 'yes') for i in ids],
        images,
        held_out_file=str(tmp_path / name),
        num_held_out=3,
    )
    seen = {sample['image_id'] for sample in infos(dataset)}
    assert seen == set(ids) - held_out


def test_it_joins_the_questions_of_vqav2(build, tmp_path, write_json):
    questions = [dict(question_id=1, image_id=3, question='is it?')]
    annotations = [
        dict(question_id=1, answers=[dict(answer='yes')] * 10),
    ]
    vqa = VQAv2Dataset(
        data_root=str(tmp_path),
        question_file=write_json('q.json', dict(questions=questions)),
        ann_file=write_json('a.json', dict(annotations=annotations)),
        answer_file=str(tmp_path / 'answers.txt'),
        data_prefix=dict(img_path='VG_100K'),
        image_name='{image_id}.jpg',
    )
    joint = ConcatDataset([vqa, build([question(1, 'two')])])
    assert len(joint) == 2
    assert joint.metainfo['classes'] == ('yes', '2')
    first, second = (joint.get_data_info(i) for i in range(2))
    assert set(first) == set(second)


def test_files_that_cannot_be_used_are_named(build, tmp_path):
    with pytest.raises(
        ValueError, match=r'\.json, \[0\]: a .* image 8, which'
    ):
        build([question(8, 'yes')])
    with pytest.raises(ValueError, match=r'image_data\.json: expected a list'):
        build([question(1, 'yes')], dict(images=[]))
    with pytest.raises(
        ValueError, match=r"data\.json, \[0\]: there is no 'ur"
    ):
        build([question(1, 'yes')], [dict(image_id=1)])
    with pytest.raises(ValueError, match=r"'answer' must be str, not None"):
        build([question(1, None)])
    with pytest.raises(ValueError, match='there is no sample in it'):
        build([question(1, 'a hat')])
    (tmp_path / 'VG_100K_2').rmdir()
    with pytest.raises(FileNotFoundError, match='VG_100K_2, which is no fol'):
        build([question(1, 'yes')])
