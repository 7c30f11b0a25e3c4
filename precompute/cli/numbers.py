"""Numbers as people read them."""


def human_seconds(seconds: float) -> str:
    """Return a time as people write it: 40 s, 3 min, 2 h 5 min."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


def human_bytes(count: float) -> str:
    """Return a size: 20 B, 1.5 kB, 2.0 TB."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def metres(value: float, digits: int = 2) -> str:
    """Return a length without its unit."""
    return f"{value:.{digits}g}" if value < 100 else f"{value:.0f}"


def percent(share: float) -> str:
    """Return a share of 0 to 1; 0 % and 100 % are exact."""
    if share in (0, 1):
        return f"{100 * share:.0f} %"
    return f"{100 * share:.1f} %" if 0.001 <= share <= 0.999 else "under 0.1 %" if share < 0.5 else "over 99.9 %"


def counted(count: int, name: str) -> str:
    """Return how many there are: 1 frame, 10,234 frames."""
    return f"{count:,} {name}" + ("" if count == 1 else "s")
