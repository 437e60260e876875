"""Tidies a table up with deltalake, as somebody might who knows nothing of its archive, and prints a JSON object of what was said.

usage: vacuum.py ARCHIVE

Files that the log does not name, or that it has removed, are to be deleted at once, whatever their age. Then a commit is tried, and a checkpoint
is written.
"""

import json
import os
import sys

from deltalake import DeltaTable


def said(call):
    try:
        return call()
    except Exception as e:
        return f"{type(e).__name__}: {e}"


table = DeltaTable(sys.argv[1])
at_once = {"retention_hours": 0, "enforce_retention_duration": False}
print(json.dumps({
    "would": said(lambda: table.vacuum(dry_run=True, full=True)),
    "would_at_once": said(lambda: table.vacuum(dry_run=True, full=True, **at_once)),
    "usual": said(lambda: table.vacuum(dry_run=False)),
    "removed": said(lambda: table.vacuum(dry_run=False, **at_once)),
    "full": said(lambda: table.vacuum(dry_run=False, full=True, **at_once)),
    "delete": said(lambda: table.delete("hostname = 'n01'")),
    "checkpoint": said(table.create_checkpoint),
}), flush=True)
# threads that the library leaves would abort the process while it is taken down
os._exit(0)
