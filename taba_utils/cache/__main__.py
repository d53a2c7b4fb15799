"""`python -m taba_utils.cache --prune [DIR]`: remove results that today's code cannot use."""

import argparse

from taba_utils.cache.prune import prune

if __name__ == "__main__":
    parser = argparse.ArgumentParser("python -m taba_utils.cache", description=__doc__)
    parser.add_argument(
        "--prune", nargs="?", metavar="DIR", const="", required=True, help="default: $TABA_CACHE"
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would be removed")
    given = parser.parse_args()
    prune(given.prune or None, dry_run=given.dry_run)
