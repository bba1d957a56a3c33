# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Reads nouns and relations of sentences on shapes, for the tests.

Nothing here calls the generator's own language: only boxes and areas count.
"""

SIZE = 128
AXES = {'left': (0, -1), 'right': (0, 1), 'above': (1, -1), 'below': (1, 1)}
NUMBERS = [
    *('no', 'one', 'two', 'three', 'four'),
    *('five', 'six', 'seven', 'eight'),
]
CLEAR = 8  # pixels between two centres: nobody needs a ruler


def things_of(scene):
    return [
        {
            'words': {obj.colour, obj.shape},
            'name': f'{obj.colour} {obj.shape}',
            'at': (obj.box[0] + obj.box[2] / 2, obj.box[1] + obj.box[3] / 2),
            'area': obj.area,
        }
        for obj in scene.objects
    ]


def named(noun, things):
    """Select what a noun such as 'red circles' or 'objects' names."""
    words = {word.removesuffix('s') for word in noun.split()} - {'object'}
    return [thing for thing in things if words <= thing['words']]


def only(noun, things):
    (thing,) = named(noun, things)
    return thing


def shift(direction, a, b):
    axis, sign = AXES[direction]
    return sign * (a['at'][axis] - b['at'][axis])


def most(word, things):
    keys = {
        'largest': lambda t: t['area'],
        'smallest': lambda t: -t['area'],
        'leftmost': lambda t: -t['at'][0],
        'rightmost': lambda t: t['at'][0],
        'highest': lambda t: -t['at'][1],
        'lowest': lambda t: t['at'][1],
    }
    first, second = sorted(things, key=keys[word], reverse=True)[:2]
    assert keys[word](first) > keys[word](second)
    return first
