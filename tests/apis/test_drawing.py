# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import numpy as np
import pytest
import tiny_tasks
from PIL import Image

from beit3_mm.apis import draw, draw_detections
from beit3_mm.apis.canvas import colour_of
from beit3_mm.apis.images import as_inputs
from beit3_mm.apis.predictions import Detections, LabelMap, Ranking

GREY = np.full((300, 400, 3), 100, np.uint8)


@pytest.mark.parametrize('kind', list(tiny_tasks.KINDS))
def test_each_task_draws(inferencer, images, texts_of, kind, tmp_path):
    predictions = inferencer(kind)(images, texts_of(kind))
    drawn = [draw(prediction) for prediction in predictions]
    for picture in drawn:
        picture.save(tmp_path / 'x.png')
        with Image.open(tmp_path / 'x.png') as saved:
            assert np.array_equal(saved, picture)
        assert picture.width >= 384
        assert np.asarray(picture).std() > 5
    assert len({x.tobytes() for x in drawn}) == len(predictions)


def objects(masks=None):
    return Detections(
        images=as_inputs(GREY),
        boxes=np.array([[50, 60, 150, 160], [250, 60, 350, 160]], 'f4'),
        scores=np.array([0.9, 0.2], 'f4'),
        labels=np.array([0, 1]),
        names=['cat', 'dog'],
        masks=masks,
    )


def is_colour(picture, label):
    return (np.asarray(picture) == colour_of(label)).all(axis=2)


def test_boxes_of_sure_objects():
    drawn = is_colour(draw(objects()), 0)
    assert drawn[60:160, 50].all()
    assert drawn[160, 50:150].all()
    assert not drawn[70:150, 60:140].any()
    assert not is_colour(draw(objects()), 1).any()
    assert is_colour(draw_detections(objects(), 0.1), 1)[60:160, 250].all()
    # The name stands above the box
    assert drawn[40:58, 50:90].mean() > 0.4
    assert np.asarray(draw_detections(objects(), 0.95)).std() == 0


def test_masks_are_tinted():
    masks = np.zeros((2, 300, 400), bool)
    masks[:, 100:120, 80:120] = True
    picture = np.asarray(draw(objects(masks)))
    expected = (100 + np.array(colour_of(0))) // 2
    assert np.abs(picture[105, 85] - expected).max() <= 1
    assert (picture[130, 85] == 100).all()


def test_names_stay_in_the_picture():
    found = Detections(
        images=as_inputs(GREY),
        boxes=np.array([[380, 0, 399, 20]], 'f4'),
        scores=np.array([0.9], 'f4'),
        labels=np.array([0]),
        names=['a rather long name'],
        masks=None,
    )
    drawn = is_colour(draw(found), 0)
    assert drawn[:18, 250:380].mean() > 0.3


@pytest.mark.parametrize('palette', [None, np.array([[9, 8, 7], [90, 0, 0]])])
def test_label_maps_have_the_colours_of_their_classes(palette):
    labels = np.zeros((300, 400), int)
    labels[:, 300:] = 1
    found = LabelMap(
        images=as_inputs(GREY),
        labels=labels,
        names={0: 'sky', 1: 'sea'},
        palette=palette,
    )
    assert found.answer() == 'sky 75%, sea 25%'
    picture = np.asarray(draw(found))
    assert picture.shape[0] > 300  # the legend
    for x, label in ((10, 0), (390, 1)):
        colour = colour_of(label) if palette is None else palette[label]
        expected = (100 + np.array(colour)) // 2
        assert np.abs(picture[5, x] - expected).max() <= 1


def test_rankings_show_the_best_from_left_to_right(images):
    dark, light = (np.full((100, 100, 3), value, 'u1') for value in (20, 200))
    found = Ranking(
        text='light',
        images=(),
        indices=[1, 0],
        candidates=list(as_inputs([light, dark])),
        similarities=[0.5, -0.1],
    )
    picture = np.asarray(draw(found))
    assert (picture[100, 100] == 200).all()
    assert (picture[100, 400] == 20).all()


def test_texts_alone_have_a_picture():
    found = Ranking(
        text='words', images=(), indices=[], candidates=[], similarities=[]
    )
    assert np.asarray(draw(found)).std() > 0
    assert found.name == 'text'


def test_what_is_no_prediction_is_told():
    with pytest.raises(TypeError, match='a str is no prediction'):
        draw('dog')
