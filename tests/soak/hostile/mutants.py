"""Files of a model, changed at random: the same change for the same number."""

import json
import random
import struct
from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

ODD_NUMBERS = [0, 1, -1, 2, 3, 7, 255, 65_535, 2**31 - 1, -(2**31), 0x7F800000, 0x7FC00000]
ODD_VALUES: list[Any] = [
    *(None, True, False, 0, 1, -1, 2, 96.5, 4097, 1e308, 1e-9, 10**400, 2**63, -(2**31)),
    *(float("nan"), float("inf"), -float("inf"), "", "0", "a\nb", "\ud800", "x" * 100_000, "é\0"),
    *("../../model.json", "0" * 64, "G" * 64, "F" * 64, [], {}, [[]], {"": {}}, [1] * 1000),
    *({"a": None}, [["a", 1]], [None], {"name": "\udfff"}),
]


def changed_bytes(content: bytes, chance: random.Random, spots: list[int] | None = None) -> bytes:
    """A few bytes flipped, overwritten, cut off, put in, or put in twice.

    Args:
        content: of a file.
        chance: decides.
        spots: where numbers of four bytes lie whose change is of interest.
    """
    changed = bytearray(content)
    if spots and chance.random() < 0.7:
        for at in chance.choices(spots, k=chance.choice([1, 1, 2, 3])):
            number = chance.choice([*ODD_NUMBERS, chance.randrange(5000), chance.randbytes(4)])
            changed[at : at + 4] = number if isinstance(number, bytes) else _four_bytes(number)
        return bytes(changed)
    for _ in range(chance.choice([1, 1, 1, 2, 4, 16])):
        # As often in the first bytes, which say what all others mean, as in all others.
        most = chance.choice([64, 1024, len(changed)])
        at = chance.randrange(max(1, min(most, len(changed))))
        _change(changed, at, chance)
    return bytes(changed)


def _change(changed: bytearray, at: int, chance: random.Random) -> None:
    length = chance.choice([1, 4, 4, 64, 4096])
    kind = chance.randrange(6)
    if kind == 0 and at < len(changed):
        changed[at] ^= 1 << chance.randrange(8)
    elif kind == 1:
        changed[at : at + length] = chance.randbytes(len(changed[at : at + length]))
    elif kind == 2:
        del changed[chance.choice([at, len(changed) - at]) :]
    elif kind == 3:
        changed[at:at] = chance.randbytes(length)
    elif kind == 4:
        changed[at:at] = changed[at : at + length]
    else:
        changed[at : at + length] = bytes(len(changed[at : at + length]))


def _four_bytes(number: int) -> bytes:
    return (number % 2**32).to_bytes(4, "little")


def small_numbers(content: bytes) -> list[int]:
    """Where a file has small whole numbers: shapes, offsets, codes and places of tensors."""
    numbers = struct.unpack_from(f"<{len(content) // 4}i", content)
    return [4 * at for at, number in enumerate(numbers) if 0 < number < 5000]


def changed_json(content: bytes, chance: random.Random) -> bytes:
    """Some values of a JSON document replaced by odd ones, or removed, or put in."""
    document = json.loads(content)
    for _ in range(chance.choice([1, 1, 1, 2, 3])):
        change = chance.choice([*_changes(document, chance)])
        change()
    text = json.dumps(document, ensure_ascii=chance.random() < 0.5)
    if chance.random() < 0.05:
        text = text.replace(": ", f": {'[' * 5000}{']' * 5000}, ", 1)
    return text.encode(errors="surrogatepass")


def _changes(value: Any, chance: random.Random) -> Iterator[Callable[[], object]]:
    """One change for each value within a value; both are lists and dictionaries, or end there."""
    keys = range(len(value)) if isinstance(value, list) else list(value)
    for key in keys:
        odd = deepcopy(chance.choice(ODD_VALUES))  # another change may be within it
        if chance.random() < 0.03:
            for _ in range(chance.choice([50, 900])):
                odd = [odd]
        if chance.random() < 0.1:
            yield lambda key=key: value.pop(key) if key in value else None
        else:
            yield lambda key=key, odd=odd: value.__setitem__(key, odd)
        if isinstance(value[key], dict | list):
            yield from _changes(value[key], chance)
    if isinstance(value, dict):
        yield lambda: value.update({chance.choice(["", "extra", "\ud800"]): 1})
