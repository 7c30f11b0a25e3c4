"""The ``precompute`` command: Ctrl-C is dealt with before anything else is imported."""

from .interrupt import end_at_once


def main() -> None:
    """Run the command line."""
    end_at_once()
    from .main import main as commands

    commands()


if __name__ == "__main__":
    main()
