# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Scores of captions without Java: BLEU, ROUGE-L and CIDEr-D.

The figures are those of pycocoevalcap (tylin/coco-caption), in its scale, for
captions that are split into the same words.
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

Words = Sequence[str]
Ngrams = Counter[tuple[str, ...]]

MAX_N = 4
ROUGE_BETA = 1.2  # weight of recall against precision
CIDER_SIGMA = 6.0  # of the penalty for another length, in pairs of words
# pycocoevalcap's guards against a division by 0
_SMALL, _TINY = 1e-9, 1e-15


def count_ngrams(words: Words, n: int) -> Ngrams:
    """Counts the sequences of n words."""
    return Counter(zip(*(words[i:] for i in range(n))))


def bleu(
    captions: Sequence[Words], references: Sequence[Sequence[Words]]
) -> list[float]:
    """Returns BLEU-1 to BLEU-4 of a corpus (Papineni et al., ACL 2002).

    The reference of the closest length counts for brevity, of two the
    shorter one.

    Args:
        captions: The words of a caption of each image.
        references: Those of its one or more true captions.
    """
    right, guessed = [0] * MAX_N, [0] * MAX_N
    length = true_length = 0
    for words, truths in zip(captions, references, strict=True):
        length += len(words)
        true_length += min(
            map(len, truths), key=lambda x: (abs(x - len(words)), x)
        )
        for i in range(MAX_N):
            found = count_ngrams(words, i + 1)
            allowed = Counter()
            for truth in truths:
                allowed |= count_ngrams(truth, i + 1)
            right[i] += (found & allowed).total()
            guessed[i] += found.total()
    ratio = (length + _TINY) / (true_length + _SMALL)
    penalty = math.exp(min(0, 1 - 1 / ratio))
    scores, product = [], 1.0
    for i in range(MAX_N):
        product *= (right[i] + _TINY) / (guessed[i] + _SMALL)
        scores.append(penalty * product ** (1 / (i + 1)))
    return scores


def rouge_l(
    captions: Sequence[Words], references: Sequence[Sequence[Words]]
) -> float:
    """Returns the mean of ROUGE-L over the images (Lin, ACL 2004).

    Precision and recall are each the best of all references.

    Args:
        captions: As of `bleu`.
        references: As of `bleu`.
    """
    total = 0.0
    for words, truths in zip(captions, references, strict=True):
        common = [common_length(words, truth) for truth in truths]
        if not any(common):
            continue
        precision = max(common) / len(words)
        recall = max(n / len(x) for n, x in zip(common, truths) if n)
        product = (1 + ROUGE_BETA**2) * precision * recall
        total += product / (recall + ROUGE_BETA**2 * precision)
    return total / len(captions)


def common_length(first: Words, second: Words) -> int:
    """Returns the length of the longest common subsequence."""
    row = [0] * (len(second) + 1)
    for a in first:
        diagonal = 0
        for i, b in enumerate(second, 1):
            above = row[i]
            row[i] = diagonal + 1 if a == b else max(above, row[i - 1])
            diagonal = above
    return row[-1]


class _Vector(NamedTuple):
    """The weights of a caption's n-grams, for each n.

    Args:
        weights: Frequency times rarity.
        norms: Their Euclidean lengths.
        length: Number of pairs of words.
    """

    weights: list[dict[tuple[str, ...], float]]
    norms: list[float]
    length: int


def cider_d(
    captions: Sequence[Words], references: Sequence[Sequence[Words]]
) -> float:
    """Returns CIDEr-D (Vedantam et al., CVPR 2015), 10 for the best.

    How rare an n-gram is comes from the references that are given, so the
    score of an image depends on the others; of one image alone it is 0.

    Args:
        captions: As of `bleu`.
        references: As of `bleu`.
    """
    frequency: Ngrams = Counter()
    for truths in references:
        frequency.update({x for words in truths for x in _all_ngrams(words)})
    log_images = math.log(len(references))
    rarity = {x: log_images - math.log(n) for x, n in frequency.items()}
    total = 0.0
    for words, truths in zip(captions, references, strict=True):
        vector = _weigh(words, rarity, log_images)
        scores = [
            _similarity(vector, _weigh(truth, rarity, log_images))
            for truth in truths
        ]
        total += sum(scores) / len(scores)
    return 10 * total / len(captions)


def _all_ngrams(words: Words) -> Iterator[tuple[str, ...]]:
    for n in range(1, MAX_N + 1):
        yield from count_ngrams(words, n)


def _weigh(
    words: Words, rarity: dict[tuple[str, ...], float], unseen: float
) -> _Vector:
    counts = [count_ngrams(words, n) for n in range(1, MAX_N + 1)]
    weights = [
        {ngram: k * rarity.get(ngram, unseen) for ngram, k in x.items()}
        for x in counts
    ]
    norms = [math.sqrt(sum(w * w for w in x.values())) for x in weights]
    return _Vector(weights, norms, max(len(words) - 1, 0))


def _similarity(caption: _Vector, truth: _Vector) -> float:
    """Returns the mean of the clipped cosines over n, less for a length that
    differs.
    """
    total = 0.0
    for ours, theirs, norm, true_norm in zip(
        caption.weights, truth.weights, caption.norms, truth.norms
    ):
        if norm and true_norm:
            pairs = [(w, theirs[x]) for x, w in ours.items() if x in theirs]
            shared = sum(min(w, true) * true for w, true in pairs)
            total += shared / (norm * true_norm)
    delta = caption.length - truth.length
    return total / MAX_N * math.exp(-(delta**2) / (2 * CIDER_SIGMA**2))
