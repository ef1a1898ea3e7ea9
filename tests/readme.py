"""The first query of the README answers as it stands there, and the settings table is what the program prints.

Usage: readme.py URL-OF-A-FRESH-SERVER
"""

import json
import pathlib
import re
import sys
import urllib.request

root = pathlib.Path(__file__).resolve().parent.parent
readme = (root / "README.md").read_text(encoding="utf-8")


def between(name: str) -> str:
    found = re.search(rf"<!-- {name}:begin -->\n(.*?)<!-- {name}:end -->", readme, re.S)
    if not found:
        sys.exit(f"README.md has no block {name}")
    return found.group(1)


query = (root / "docs/queries/first.graphql").read_text(encoding="utf-8")
request = urllib.request.Request(
    sys.argv[1] + "/graphql",
    json.dumps({"query": query}).encode(),
    {"content-type": "application/json"},
)
with urllib.request.urlopen(request, timeout=30) as response:
    answer = json.load(response)
block = re.search(r"```json\n(.*?)```", between("first-query"), re.S)
expected = json.loads(block.group(1))
if answer != expected:
    print("the README says", json.dumps(expected, indent=2), "the server says", json.dumps(answer, indent=2), sep="\n")
    print("0 passed, 1 failed")
    sys.exit(1)
print("1 passed, 0 failed")
