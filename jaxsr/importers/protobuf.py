"""Protobuf messages as fields, read without their schema.

Source: https://protobuf.dev/programming-guides/encoding
"""

from collections import defaultdict


def message(data: bytes) -> dict[int, list]:
    """Field number -> values of a message: an int each, or bytes of another kind."""
    fields, at = defaultdict(list), 0
    while at < len(data):
        key, at = _varint(data, at)
        kind = key & 7
        if kind == 0:
            value, at = _varint(data, at)
            fields[key >> 3].append(value)
            continue
        if kind == 2:
            length, at = _varint(data, at)
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
        else:
            raise ValueError(f"it is not a protobuf message (wire type {kind}).")
        if at + length > len(data):
            raise ValueError("it is truncated, or not a protobuf message.")
        fields[key >> 3].append(data[at : at + length])
        at += length
    return fields


def varints(data: bytes) -> list[int]:
    """The integers of a packed field."""
    values, at = [], 0
    while at < len(data):
        value, at = _varint(data, at)
        values.append(value)
    return values


def _varint(data, at) -> tuple[int, int]:
    """The integer that starts at `at`, and where the next field starts."""
    value = 0
    for i, byte in enumerate(data[at : at + 10]):
        value |= (byte & 127) << 7 * i
        if byte < 128:
            return value, at + i + 1
    raise ValueError("it is truncated, or not a protobuf message.")
