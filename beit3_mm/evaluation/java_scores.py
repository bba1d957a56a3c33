# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""METEOR and SPICE, which pycocoevalcap computes in Java."""

import shutil
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec

JAVA_SCORES = {'METEOR': 'meteor.meteor', 'SPICE': 'spice.spice'}


def require_java(*names: str) -> None:
    """Raises an error that names the remedy if scores cannot be computed.

    Args:
        names: Keys of `JAVA_SCORES`.

    Raises:
        ImportError: If pycocoevalcap is not installed.
        FileNotFoundError: If there is no Java.
    """
    if names and find_spec('pycocoevalcap') is None:
        raise ImportError(
            f'{", ".join(names)} of captions need pycocoevalcap: pip install '
            "'beit3_mm[caption]' (100 MB), or leave them out of metrics; "
            'CIDEr, BLEU and ROUGE_L need nothing'
        )
    if names and shutil.which('java') is None:
        raise FileNotFoundError(
            f'{", ".join(names)} of captions need Java, and there is no '
            '`java` on the PATH: install a Java runtime, or leave them out '
            'of metrics'
        )


def java_score(
    name: str,
    captions: Sequence[Sequence[str]],
    references: Sequence[Sequence[Sequence[str]]],
) -> float:
    """Returns METEOR or SPICE of a corpus, in pycocoevalcap's scale.

    SPICE fetches Stanford's models when it is used for the first time.

    Args:
        name: A key of `JAVA_SCORES`.
        captions: The words of a caption of each image.
        references: Those of its true captions.

    Raises:
        ImportError: As of `require_java`.
        FileNotFoundError: As of `require_java`.
    """
    require_java(name)
    module = import_module(f'pycocoevalcap.{JAVA_SCORES[name]}')
    scorer = getattr(module, name.capitalize())()
    truths = {
        i: [' '.join(words) for words in x] for i, x in enumerate(references)
    }
    found = {i: [' '.join(words)] for i, words in enumerate(captions)}
    return float(scorer.compute_score(truths, found)[0])
