"""Which frames of a data set are looked at: spread over its sequences."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from depthvar.datasets.source.source import Source


def by_sequence(source: Source, keys: Sequence[str]) -> dict[str, list[str]]:
    """Return the keys of each sequence."""
    found: dict[str, list[str]] = defaultdict(list)
    for key in keys:
        found[source.sequence(key)].append(key)
    return dict(found)


def spread(sequences: Sequence[Sequence[str]], count: int) -> list[str]:
    """Return ``count`` keys, or all where there are fewer: spread over the sequences, and over each of them."""
    chosen = [sequences[i] for i in _evenly(len(sequences), count)]
    shares = [count // len(chosen) + (place < count % len(chosen)) for place in range(len(chosen))]
    keys = [keys[i] for keys, share in zip(chosen, shares, strict=True) for i in _evenly(len(keys), share)]
    if len(keys) < count and sum(map(len, sequences)) > len(keys):  # some sequences are shorter than their share
        every = [key for each in sequences for key in each]
        known = set(keys)
        rest = [key for key in every if key not in known]
        known |= {rest[i] for i in _evenly(len(rest), count - len(keys))}
        keys = [key for key in every if key in known]
    return keys


def _evenly(total: int, count: int) -> Iterator[int]:
    """Yield at most ``count`` places of ``total``, each the middle of an equal part."""
    parts = min(total, count)
    return (int((part + 0.5) * total / parts) for part in range(parts))
