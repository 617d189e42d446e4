"""Says what is wrong with a built site: ``python docs/check_site.py FOLDER``."""

import sys
from pathlib import Path

from sitetools.checking import complaints, pages_of

if __name__ == "__main__":
    site = Path(sys.argv[1])
    found = list(complaints(site))
    fine = f"{len(pages_of(site))} pages: all links lead somewhere, nothing is fetched from elsewhere"
    print("\n".join(found) or fine)
    sys.exit(bool(found))
