"""What a run says of the first frames before the work starts: one line in the log."""

import logging

from depthvar.datasets.source.source import Source
from depthvar.precompute.pictures.choose import spread

from .camera import check_unusual
from .inspect import CHECKS, check, look_at_some, measures
from .look import rule_of
from .text import short_text

log = logging.getLogger("depthvar")

FRAMES, STORED = 3, 1  # decoded; of which the stored numbers are read too


def glance(source: Source) -> None:
    """Log what a few frames of a source look like, as a warning where they look wrong. Nothing is ever raised."""
    try:
        looks, _ = look_at_some(source, spread([source.keys()], FRAMES), STORED)
        if not looks:
            return
        rule = rule_of(source)
        verdicts = check(looks, rule, [each for each in CHECKS if each is not check_unusual])  # said by the survey
        line = short_text(measures(looks, rule) | {"verdicts": [each._asdict() for each in verdicts]})
    except Exception as error:  # of a class of the user's own too: the run meets it itself
        log.info("no look at the first frames (%s: %s)", type(error).__name__, error)
        return
    looks_wrong = any(each.state == "warning" for each in verdicts)
    log.log(logging.WARNING if looks_wrong else logging.INFO, "%s", line)
