# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""SentencePiece with the id layout of the released BEiT-3 models.

The official code reads `beit3.spm` through XLM-R's tokenizer, whose layout
comes from fairseq: four special ids in front, then the pieces, then the mask.
SentencePiece itself numbers `<unk>` 0, `<s>` 1 and `</s>` 2, so that from its
id 3 on every piece moves up by one:

    id     0     1      2     3      4 ... pieces        pieces + 1
    is    <s>  <pad>  </s>  <unk>  spm 3 ... pieces - 1    <mask>

The released model has 64,000 pieces, hence the mask 64001 and 64,002 ids; its
embedding table has 8 more rows, which nothing uses (microsoft/unilm#1318).
"""

from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

from sentencepiece import SentencePieceProcessor

BOS_ID = 0
PAD_ID = 1
EOS_ID = 2
UNK_ID = 3
SPARE_ROWS = 8  # of the released embedding tables, behind the mask

_SPECIAL_PIECES = ['<unk>', '<s>', '</s>']  # in front in SentencePiece
_SHIFT = 1
# Fields of SentencePiece's `ModelProto`, in the order in which they lie in
# the file behind the pieces.
_TRAINER_SPEC, _NORMALIZER_SPEC = 2, 3
_MESSAGE = 2  # protobuf's type of a field that says its length


class Tokenizer:
    """Texts to ids and back, as the released models count them.

    Text is normalised as the model file says (NFKC, one space between words).
    Runs of characters that it lacks become one `unk_id`; `<s>`, `</s>` and
    `<mask>` written in a text are plain characters. An empty text, or one of
    spaces, has no ids.

    Args:
        model_file: A SentencePiece model, such as the released `beit3.spm` or
            one of `tools/dataset_converters/train_tokenizer.py`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not a whole SentencePiece model, or one with
            other special pieces.
    """

    bos_id = BOS_ID
    pad_id = PAD_ID
    eos_id = EOS_ID
    unk_id = UNK_ID

    def __init__(self, model_file: str | Path) -> None:
        self.model_file = Path(model_file)
        self._model = _load_model(self.model_file)
        self.mask_id = self._model.get_piece_size() + _SHIFT

    @property
    def num_ids(self) -> int:
        """Number of ids, special ones included: the last is the mask."""
        return self.mask_id + 1

    def encode(self, text: str) -> list[int]:
        """Returns the ids of a text, without `bos_id` and `eos_id`.

        Raises:
            TypeError: If `text` is no string.
        """
        if not isinstance(text, str):
            raise TypeError(
                f'text must be a str, not {type(text).__name__}: {text!r:.60}'
            )
        # Half a surrogate pair, as broken JSON has, has no UTF-8: it reads ?
        pieces = self._model.encode(text.encode(errors='replace'))
        return [piece + _SHIFT if piece else UNK_ID for piece in pieces]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Returns `encode` of each text.

        Raises:
            TypeError: If `texts` is one string, or holds something else.
        """
        if isinstance(texts, str):
            raise TypeError(f'texts must be a list of str, not {texts!r:.60}')
        # SentencePiece's own batches start threads, which is slower for a few
        # texts and does not go with forked data workers.
        return [self.encode(text) for text in texts]

    def decode(self, ids: Iterable[int]) -> str:
        """Returns the text of ids; special and spare ids are dropped.

        Args:
            ids: Ints, or a 1-D array or tensor of them.

        Raises:
            ValueError: If an id lies behind the spare ones: it belongs to
                another tokenizer.
        """
        pieces = []
        for token in map(int, ids):
            if not 0 <= token < self.num_ids + SPARE_ROWS:
                raise ValueError(
                    f'id {token} is not of {self.model_file}, which has '
                    f'{self.num_ids} ids: use the tokenizer that the model '
                    'was trained with'
                )
            if UNK_ID < token < self.mask_id:
                pieces.append(token - _SHIFT)
        return self._model.decode(pieces)

    @staticmethod
    def with_special(ids: Sequence[int], max_tokens: int) -> list[int]:
        """Puts ids between `bos_id` and `eos_id`; what is too long is cut.

        Args:
            ids: Ids of a text, as `encode` gives them.
            max_tokens: Largest length, both special ids included.

        Raises:
            ValueError: If `max_tokens` leaves no room for them.
        """
        if max_tokens < 2:
            raise ValueError(
                f'{max_tokens=} must be at least 2, for bos and eos'
            )
        return [BOS_ID, *ids[: max_tokens - 2], EOS_ID]


def load_tokenizer(model_file: str | Path) -> Tokenizer:
    """Returns the tokenizer of a file, read once by each process.

    Raises:
        FileNotFoundError: As of `Tokenizer`.
        ValueError: As of `Tokenizer`.
    """
    return _load_once(Path(model_file).absolute())


_load_once = cache(Tokenizer)


def _load_model(path: Path) -> SentencePieceProcessor:
    """Reads a model and checks that it is whole and of the layout above."""
    if not path.is_file():
        raise FileNotFoundError(
            f'{path}: no such tokenizer model. The one of the released models '
            'is beit3.spm (linked in unilm/beit3/README.md); '
            'tools/dataset_converters/train_tokenizer.py trains a new one'
        )
    content = path.read_bytes()
    try:
        model = SentencePieceProcessor(model_proto=content)
    except RuntimeError as error:
        raise ValueError(
            f'{path} ({len(content)} bytes, starting with {content[:16]!r}) '
            'is truncated, damaged or not a SentencePiece model: get it again'
        ) from error
    # SentencePiece takes a file that was cut between two of its pieces.
    if not {_TRAINER_SPEC, _NORMALIZER_SPEC} <= _fields(content):
        raise ValueError(
            f'{path} ({len(content)} bytes) is truncated: the settings that '
            'follow its pieces are missing; get it again'
        )
    first = [model.id_to_piece(i) for i in range(min(3, len(model)))]
    if first != _SPECIAL_PIECES:
        raise ValueError(
            f'{path} starts with the pieces {first}, not {_SPECIAL_PIECES}: '
            'it is the tokenizer of another kind of model'
        )
    return model


def _fields(message: bytes) -> set[int]:
    """Returns the numbers of the fields of a well-formed protobuf message.

    All fields of SentencePiece's model are messages: a tag, which holds the
    number of the field above 3 bits of its type, a length, the content.
    """
    fields, at = set(), 0
    while at < len(message):
        tag, at = _varint(message, at)
        if tag & 7 != _MESSAGE:  # a file of something else
            break
        length, at = _varint(message, at)
        fields.add(tag >> 3)
        at += length
    return fields


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """Reads an integer of 7 bits a byte; returns it and where it ends."""
    value, shift = 0, 0
    while True:
        byte = message[at]
        value |= (byte & 127) << shift
        shift, at = shift + 7, at + 1
        if byte < 128:
            return value, at
