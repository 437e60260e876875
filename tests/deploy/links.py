"""Whether the pages below a folder link to files that are there. Usage: links.py FOLDER"""

import pathlib
import re
import sys

LINK = re.compile(r"\]\(([^)#]+)(?:#[^)]*)?\)")

root = pathlib.Path(sys.argv[1])
pages = sorted(root.rglob("*.md"))
links = [(page, target) for page in pages for target in LINK.findall(page.read_text()) if "://" not in target]
missing = [f"{page.relative_to(root)}: {target} is not there" for page, target in links if not (page.parent / target).exists()]
for line in missing:
    print(f"tests/deploy/links.py: {line}", file=sys.stderr)
if missing or not links:
    sys.exit(1)
print(f"ok: {len(links)} links of {len(pages)} installed pages lead to files that are installed")
