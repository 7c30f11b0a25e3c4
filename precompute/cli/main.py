"""The command line: parse, call one function, print. Results go to stdout, everything else to stderr.

Heavy imports are inside the commands, so that ``precompute --help`` answers at once.
"""

import logging
import warnings

import click

from .caches import info, validate
from .data import datasets, demo
from .errors import Commands
from .look import inspect, preview, report
from .progress import LogHandler
from .run import run


@click.group(cls=Commands, context_settings={"show_default": True, "max_content_width": 100})
@click.version_option(package_name="depthvar")
def main() -> None:
    """Geometry-aware weights for depth losses: compute σ_Z² of a whole data set once.

    \b
    Example:
      precompute run --dataset hospital
    """
    warnings.filterwarnings("ignore", module=r"PIL\.|numpy\.lib")  # of damaged files: they end in a DepthVarError
    logger = logging.getLogger("depthvar")
    logger.handlers, logger.propagate = [LogHandler()], False
    logger.setLevel(logging.INFO)
    for name in ("asyncio", "azure", "gcsfs", "google"):  # what fails is raised, too
        logging.getLogger(name).setLevel(logging.CRITICAL)


for command in (run, inspect, preview, validate, report, info, datasets, demo):
    main.add_command(command)
