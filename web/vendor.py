"""Copy the page's libraries from node_modules to where the server serves them from. Plain Python, no dependencies.

They are pinned in package.json and package-lock.json; no copy of them is committed.
"""

import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MODULES = ROOT / "node_modules"
VENDOR = ROOT / "web" / "static" / "vendor"

FILES = {
    "preact.js": "preact/dist/preact.mjs",
    "preact-hooks.js": "preact/hooks/dist/hooks.mjs",
    "signals.js": "@preact/signals/dist/signals.mjs",
    "signals-core.js": "@preact/signals-core/dist/signals-core.mjs",
    "htm.js": "htm/dist/htm.mjs",
    "marked.js": "marked/lib/marked.esm.js",
    "purify.js": "dompurify/dist/purify.es.mjs",
    "highlight.js": "@highlightjs/cdn-assets/es/highlight.min.js",
    "uplot.js": "uplot/dist/uPlot.esm.js",
    "uplot.css": "uplot/dist/uPlot.min.css",
}


def main() -> int:
    """Copy every file, without the source maps that it points to."""
    VENDOR.mkdir(parents=True, exist_ok=True)
    for name, source in FILES.items():
        path = MODULES / source
        if not path.exists():
            sys.stderr.write(f"{path} is missing: run `npm ci` first\n")
            return 1
        shutil.copyfile(path, VENDOR / name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
