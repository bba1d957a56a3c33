# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Words of captions as the official caption scores count them.

The official scores (tylin/coco-caption) split captions by Stanford's
PTBTokenizer 3.4.1, a Java program, in small letters, and then drop most
punctuation. These rules do the same without Java. They were found by feeding
texts to that program; docs/metrics.md says where both agree.
"""

import re
from functools import lru_cache

# Abbreviations that keep their point: written anyhow, only with a capital or
# in capitals, not in capitals, and in front of a number.
_ABBREVIATIONS = """
adj adm adv al ala alex apr ariz assn assoc asst atty aug ave bhd bldg blvd
brig bros calif capt cf cie cmdr co col colo comdr conn corp cos cpl ct dak
dec dept det dr drs elec ens esq est etc ext feb fla fri ft ga gen gov govs
hon inc ind insp intl invt jan jos jr jul jun kan kans ky lieut lt ltd maj mar
md messrs mich minn mlle mme mo mon mont mr mrs ms msgr mt natl neb nev nov oct
okla penn pfc ph plc pres prof profs pvt rd rep reps rev rt sen sens sep sept
seq sfc sgt spc sq sr st ste supt sys tel tenn thu thurs treas tue tues univ va
vs vt wed wis wisc wm wyo
"""
_WITH_CAPITALS = 'ark az del ill la mass miss ore pa tex wash'
_IN_SMALL_LETTERS = 'mfg mtg ppte ppty pte ptes pty ptys'
_BEFORE_NUMBERS = 'art ca fig figs no nos op pp prop'
# Words that begin a sentence: a single letter in front keeps no point.
_BEGINNINGS = """
A About According Additionally After An As At But Earlier He Her Here However
If In It Last Many More Now Once One Other Our She Since So Some Such That The
Their Then There These They This We What When While Yet You
"""

_PUNCTUATION = set("'`.?!,:;-") | {'``', "''", '--', '...'}
_SYMBOLS = {'(': '-lrb-', '[': '-lsb-', '{': '-lcb-'}
_SYMBOLS |= {')': '-rrb-', ']': '-rsb-', '}': '-rcb-'}
_SYMBOLS |= dict.fromkeys('"“”«»', "''") | dict.fromkeys('‘’‹›', "'")
_SYMBOLS |= dict.fromkeys('–—―', '--') | {'…': '...'}
_SYMBOLS |= {'£': '#', '€': '$', '¢': 'cents'}
_SYMBOLS |= {'½': '1/2', '¼': '1/4', '¾': '3/4'}


def _any_of(words: str) -> str:
    return '(?:' + '|'.join(words.split()) + ')'


# Parts of the patterns: a letter, a letter or digit, what ends in no letter,
# an apostrophe, a hyphen, a number, letters of a link and its last one.
_L, _W, _END = r'[^\W\d_]', '[^\\W_½¼¾²³]', r'(?![^\W\d_])'
_A, _H = "['’]", '[-‐‑]'
_NUMBER = r'(?:\d+(?:[.:,]\d+)*|(?:[.:,]\d+)+)'
_HOST, _PATH = r'[^][\s"`\'<>|.!?(){},_$-]', r'[^\s"<>|()]+[^\s"<>|.!?(){},-]'
_PARTS = rf'{_W}+(?:_{_W}+)*'  # snake_case
_SLASHED = '[a-z0-9]+(?:-[a-z]+){0,2}'
_CLITIC = rf'{_A}(?:[msd]|re|ve|ll){_END}'

# As of a scanner made by lex, the longest match counts, and of equally long
# ones the first. What a pattern looks ahead to in a group adds to its length.
_RULES = [
    # A word in front of a contraction, and the rest: do|n't, it|'s, can|not
    rf'[a-z]*[a-mo-z](?=(n{_A}t))',
    rf'n{_A}t{_END}',
    rf'{_L}{_W}*(?=({_CLITIC}))',
    _CLITIC,
    'can(?=(not))|(?:gon|wan)(?=(na))|got(?=(ta))|(?:lem|gim)(?=(me))',
    "'t(?=(is|was))",
    # Other words with an apostrophe: 'n', '90s, ma'am, O'Neil, l'eau
    rf'{_A}n(?:{_A}|{_END})|{_A}(?:em|till?|cause|[2-9]0s|\d\d(?!\S))',
    rf'(?-i:[A-HJ-XZn]){_A}{_L}{_L}+',
    rf'{_L}+[aeiouy]{_A}(?:[aeiou]|(?-i:[A-Z])){_L}*',
    rf'(?:[ldj]|ol|somethin|dunkin){_A}|y{_A}(?={_L})|cont{_A}d\.?',
    rf'e{_A}er|c{_A}mon|ev{_A}ry|d{_A}ye',
    # Words, also with points, hyphens or slashes inside; numbers
    rf'{_L}{_W}*(?:[.!?]{_L}{_W}*)*',
    rf'(?:[dol]{_A}(?={_W}))?{_PARTS}(?:{_H}(?:[dol]{_A})?{_PARTS})*',
    rf'{_W}+(?:[.,]{_W}+)*(?:{_H}{_W}+)+|(?:anti|pro)-',
    rf'{_SLASHED}(?:/{_SLASHED}){{1,2}}',
    r'(?-i:[A-Z]+(?:[+&][A-Z]+)+|[A-Z]+\$)|c\+\+|[cf]\#',
    rf'[-+]?{_NUMBER}|\d+/\d+',
    # Abbreviations
    rf'(?:ph\.d|{_any_of(_ABBREVIATIONS)})\.',
    rf'(?-i:(?=[A-Z])){_any_of(_WITH_CAPITALS)}\.',
    rf'(?-i:(?![A-Z]{{2}})){_any_of(_IN_SMALL_LETTERS)}\.',
    rf'{_any_of(_BEFORE_NUMBERS)}\.(?=(\s?\d))',
    rf'{_L}(?:\.{_L})*\.(?:{_H}{_W}+)*',
    rf'{_W}+\.(?=([,;:]))',
    # Links, addresses, tags, smileys
    rf'https?://{_PATH}',
    rf'www\.(?:[^\s"<>|.!?(){{}},]+\.)+[a-z]{{2,4}}(?:/{_PATH})?',
    rf'(?:{_HOST}+\.)+(?:com|net|org|edu)(?:/{_PATH})?',
    r'<?[a-z0-9][^\s"<>|(){}]*@(?:[^\s"<>|(){}.]+\.)*[^][\s"<>|(){}.]+>?',
    rf'@[a-z_]\w*|\#{_L}+|</?[a-z][\w:.-]*/?>',
    r"[<>]?[:;=]'?[-o*']?(?-i:[()DPdpO\\{@|])(?![a-z0-9])|\^_\^|-_-",
    # Anything else is a word of its own
    r'[?!]+|\.\.\.|-+|[*_#]+|<<|>>|.',
]
_RULES = [re.compile(rule, re.IGNORECASE) for rule in _RULES]
_WITH_CURLY = re.compile('n’t|’(?:[msd]|re|ve|ll)', re.IGNORECASE)
# What looks ahead over a space
_BEGINNINGS += _BEGINNINGS.upper()
_NO_ABBREVIATION = re.compile(
    rf'(?<!\S)([A-Za-z])\.(?=\s+{_any_of(_BEGINNINGS)}(?!\S))'
)
_CHUNK = re.compile(
    rf'[^\w\s]*{_any_of(_BEFORE_NUMBERS)}\.\s?\d\S*|\S+', re.IGNORECASE
)


def ptb_words(caption: str) -> list[str]:
    """Splits a caption into words in small letters, without punctuation.

    Brackets, symbols and '!!' stay, as they do in the official scores.

    Args:
        caption: One or several sentences.

    Example:
        >>> ptb_words("The man's dog can't sit (still).")
        ['the', 'man', "'s", 'dog', 'ca', "n't", 'sit', '-lrb-', 'still',
         '-rrb-']
    """
    caption = _NO_ABBREVIATION.sub(r'\1 ', caption)
    return [
        word for chunk in _CHUNK.findall(caption) for word in _split(chunk)
    ]


@lru_cache(maxsize=2**16)
def _split(chunk: str) -> tuple[str, ...]:
    words, at = [], 0
    while at < len(chunk):
        matches = [rule.match(chunk, at) for rule in _RULES]
        best = max(filter(None, matches), key=_reach)
        words.append(_normalize(best[0]))
        at = best.end()
    return tuple(word for word in words if not _is_dropped(word))


def _is_dropped(word: str) -> bool:
    emoji = len(word) == 1 and ord(word) > 0xFFFF
    return word in _PUNCTUATION or word.isspace() or emoji


def _reach(match: re.Match) -> int:
    return max(match.end(i) for i in range(match.re.groups + 1))


def _normalize(word: str) -> str:
    if _WITH_CURLY.fullmatch(word):
        word = word.replace('’', "'")
    if word in ('---', '----'):  # longer ones stay
        return '--'
    if len(word) == 1 or word[0] in '<>:;=':  # a symbol or a smiley
        word = ''.join(_SYMBOLS.get(letter, letter) for letter in word)
    return word.lower()
