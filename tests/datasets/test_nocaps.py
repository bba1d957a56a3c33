# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import pytest
from dataset_reading import infos

from beit3_mm.datasets import NoCapsDataset

IMAGES = [
    dict(id=0, file_name='0013ea2087020901.jpg', domain='near-domain'),
    dict(id=4, file_name='00a159a661a2f5aa.jpg'),
]


@pytest.fixture
def build(tmp_path, write_json):
    (tmp_path / 'val').mkdir()

    def build(images=IMAGES, **content):
        return NoCapsDataset(
            data_root=str(tmp_path),
            ann_file=write_json('nocaps.json', dict(images=images, **content)),
            data_prefix=dict(img_path='val/'),
            test_mode=True,
        )

    return build


def caption(image_id, text):
    return dict(image_id=image_id, caption=text, id=0)


def test_captions_are_references(build, tmp_path):
    dataset = build(
        annotations=[caption(4, 'a'), caption(0, 'b'), caption(4, 'c')]
    )
    names = [f'{tmp_path}/val/{image["file_name"]}' for image in IMAGES]
    assert infos(dataset) == [
        dict(
            img_path=names[0],
            image_id=0,
            domain='near-domain',
            captions=['b'],
        ),
        dict(img_path=names[1], image_id=4, captions=['a', 'c']),
    ]


def test_test_images_have_none(build):
    samples = infos(build())
    assert [sample['image_id'] for sample in samples] == [0, 4]
    assert all('captions' not in sample for sample in samples)


def test_a_caption_without_an_image_is_refused(build):
    captions = [caption(0, 'a'), caption(4, 'b'), caption(5, 'a lost cat')]
    with pytest.raises(ValueError) as failure:
        build(annotations=captions)
    message = str(failure.value)
    assert 'nocaps.json, annotations[2]: the caption' in message
    assert "'a lost cat' is of image 5, which the file does not" in message


def test_an_image_without_captions_is_refused(build):
    with pytest.raises(ValueError, match=r'1 of 2 images have no .*s \[4\]'):
        build(annotations=[caption(0, 'a')])


def test_an_image_that_is_listed_twice(build):
    with pytest.raises(ValueError, match=r'images\[2\]: image id 0 stands at'):
        build([*IMAGES, IMAGES[0]])


def test_another_file_is_refused(build):
    with pytest.raises(ValueError, match=r"images\[0\]: there is no 'id'"):
        build([dict(cocoid=1)])
    with pytest.raises(ValueError, match='there is no sample in it'):
        build([])
