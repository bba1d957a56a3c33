# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import numpy as np

from beit3_mm.datasets.transforms.detection import SquarePad


def test_square_pad_keeps_the_images_own_shape():
    image = np.full((3, 5, 3), 7, np.uint8)
    pad = SquarePad(pad_val=dict(img=(1, 2, 3)))
    results = pad.transform(dict(img=image, img_shape=(3, 5)))
    assert results['img'].shape == (5, 5, 3)
    assert (results['img'][:3] == 7).all()
    assert (results['img'][3:] == (1, 2, 3)).all()
    assert results['img_shape'] == (3, 5)  # up to which boxes are clipped
    assert results['pad_shape'][:2] == (5, 5)
