"""Ids of items as a catalogue may have them, and worse."""

import random
import sys
import unicodedata

OBEYED = {"Cc", "Cs", "Zl", "Zp"}

PLAIN = [
    "sku-1",
    "4006381333931",
    "0",
    "007",
    "-",
    "--help",
    "-x",
    "None",
    "null",
    "NaN",
    "1e5",
    "True",
    "..",
    ".",
    "../../etc/passwd",
    "/etc/passwd",
    "/",
    "~",
    "a/b/c.jpg",
    "C:\\Windows\\system32",
    "\\\\host\\share",
    "con",
    "nul.txt",
    "items.index",
    "file:items.index?mode=rwc",
    "*",
    "?",
    "[a-z]",
    "'",
    '"',
    "'quoted'",
    '"quoted"',
    '""',
    "`id`",
    "$(id)",
    "${HOME}",
    "%s%n%d",
    "{0}",
    "{item_id}",
    "=1+1",
    "@SUM(A1)",
    "+1",
    "a;b",
    "a|b",
    "a\\nb",
    "\\",
    "\\u0041",
    "&amp;",
    "<b>bold</b>",
    "<script>alert(1)</script>",
    "</script><script>alert(1)</script>",
    "\"><img src=x onerror='alert(1)'>",
    "<!-- a",
    "]]>",
    "javascript:alert(1)",
    "'; DROP TABLE items; --",
    "[red]markup[/red]",
    ":smile:",
    "a,b",
    ",",
    ",,",
    ",5",
    "5,",
    "bolt",
    "bolt,5",
    "bolt,5,1",
    "bolt, 5",
    "bolt,05",
    "screw 3,5",
    "tea,4006381333931",
    "tea,0",
    "a #comment",
    "a b",
    "a  b",
    "A B",
    "a\u00a0b",
    "a\u3000b",
    "a\u200bb",
    "\u200b",
    "a\u200b",
    "a\ufeff",
    "a\ufeffb",
    "\u202egpj.exe",
    "a\u2066b\u2069",
    "\u200f\u05e9\u05dc\u05d5\u05dd",
    "السلام",
    "\u0301accent in front",
    "x" + "\u0301\u0302\u0303" * 20,
    "\u1112\u1161\u11ab\u11a8",  # Hangul of which a part composes
    "\u0958",  # which composed is two characters
    "\u212b",  # Angstrom, which composed is another character
    "\ufb01",
    "ﬁ",
    "ß",
    "ẞ",
    "\u0131",
    "İ",
    "Ǆ",
    "👩‍🔧",
    "👩",
    "🇩🇪",
    "❤️",
    "❤",
    "\U0010ffff",
    "\ue000",
    "\ufffe",
    "\ufffd",
    "箱",
    "𠮷",
    "x" * 255,
    "x" * 4096,
    "箱" * 4096,
    "👩‍🔧" * 1365,
    "../" * 1365 + "x",
    "<" * 4096,
    '"' * 4095,
    ",5" * 2048,
]

REFUSED = [
    "",
    " ",
    "\u3000",
    " a",
    "a ",
    "\u00a0a",
    "a\u00a0",
    "a\u2003",
    "#a",
    "#",
    "\ufeffa",
    "\ufeff",
    "a\nb",
    "a\n",
    "a\rb",
    "a\tb",
    "a\0b",
    "\x1b[31mred",
    "a\x0bb",
    "a\x0cb",
    "a\x1cb",
    "a\x7fb",
    "a\x85b",
    "a\x9bb",
    "a\u2028b",
    "a\u2029b",
    "a\udce4b",
    "\ud83d",
    "x" * 4095 + "\n",
]
"""Ids that no list of candidates can hold."""

_PARTS = [
    "a",
    "Z",
    "1",
    " ",
    ",",
    "/",
    "..",
    "\\",
    "'",
    '"',
    "<",
    "&",
    "%",
    "\u0301",
    "é",
    "e\u0301",
]
_PARTS += ["箱", "👩‍🔧", "\u202e", "\u200b", "#", "-", "=", ".jpg", ",2", "ö", "o\u0308", "\u00a0"]


def odd_ids(count: int, seed: int = 0) -> list[str]:
    """So many different ids, in the form in which an index keeps them (NFC), in no order."""
    rng = random.Random(seed)
    found = dict.fromkeys(unicodedata.normalize("NFC", item) for item in PLAIN)
    while len(found) < count:
        kind = rng.randrange(5)
        if kind == 0:  # any characters
            length = rng.choice([1, 2, 5, 20])
            text = "".join(chr(rng.randrange(32, sys.maxunicode + 1)) for _ in range(length))
        elif kind == 1:  # what was found to make trouble
            text = "".join(rng.choices(_PARTS, k=rng.randrange(1, 8)))
        elif kind == 2:  # almost like another one
            base = rng.choice(list(found)[:500])
            text = base[:200] + rng.choice([*_PARTS, f",{rng.randrange(20)}"])
        elif kind == 3:  # long, now and then
            length = 4096 if rng.random() < 0.02 else rng.randrange(100, 300)
            text = rng.choice(_PARTS) * length + str(len(found))
            text = text[:4096] if len(text) > 4096 else text
        else:
            text = f"sku-{rng.randrange(10**6)}"
        item = unicodedata.normalize("NFC", text)
        if _can_be(item):
            found[item] = None
    items = list(found)[:count]
    rng.shuffle(items)
    return items


def _can_be(item: str) -> bool:
    odd = any(unicodedata.category(char) in OBEYED for char in item)
    return bool(item) and not odd and item == item.strip() and item[0] not in "#\ufeff"
