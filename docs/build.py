"""Write the pages that are made from the code: ``plugins.md`` and ``api.md``.

``python docs/build.py`` writes them, with ``--page`` one of them; ``--check`` only
says whether they are up to date.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import build_api
import build_plugins

PAGES = {"plugins": build_plugins.page, "api": build_api.page}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing, compare")
    parser.add_argument("--page", choices=PAGES, help="this one alone")
    arguments = parser.parse_args()
    old = False
    for name in [arguments.page] if arguments.page else PAGES:
        page, path = PAGES[name], Path(__file__).with_name(f"{name}.md")
        if not arguments.check:
            path.write_text(page(), encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != page():
            old = True
            print(f"{path.name} is old: run python docs/build.py")
    return int(old)


if __name__ == "__main__":
    sys.exit(main())
