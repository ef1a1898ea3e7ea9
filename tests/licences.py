#!/usr/bin/env python3
"""Holds what is built into Chimera against .deny.toml: licences, banned crates, sources.

    tests/licences.py [--config FILE]

For machines without cargo-deny: it reads the same file and needs nothing but cargo and Python 3.11. Of that file it
knows `licenses.allow`, `licenses.exceptions`, `licenses.clarify`, `bans.deny` and `sources`; it looks at no licence
texts and no advisories. Licences come from `cargo metadata`; which packages are built at all comes from `cargo tree`,
because the lock file also names optional dependencies that nobody switched on.

Prints one line for each violation, then `N passed, M failed`. Exit code 1 when something failed, 2 when cargo did.
"""

import argparse
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CRATES_IO = ("registry+https://github.com/rust-lang/crates.io-index", "sparse+https://index.crates.io/")

# Old manifests write `/` for OR.
TOKEN = re.compile(r"\s*([()/]|[A-Za-z0-9.+:-]+)")


class Unreadable(Exception):
    """An expression that is not SPDX."""


def tokens(text):
    found, at = [], 0
    while text[at:].strip():
        match = TOKEN.match(text, at)
        if match is None:
            raise Unreadable(text)
        found.append("OR" if match[1] == "/" else match[1])
        at = match.end()
    return found


def parse(text):
    """An SPDX expression as a licence's name or `("AND" | "OR", left, right)`. AND binds closer than OR."""
    rest = tokens(text)

    def take():
        if not rest:
            raise Unreadable(text)
        return rest.pop(0)

    def atom():
        word = take()
        if word == "(":
            inner = either()
            if take() != ")":
                raise Unreadable(text)
            return inner
        if word in (")", "AND", "OR", "WITH"):
            raise Unreadable(text)
        if rest[:1] == ["WITH"]:
            take()
            # A licence with an exception is another licence.
            return f"{word} WITH {take()}"
        return word

    def chain(operator, operand):
        left = operand()
        while rest[:1] == [operator]:
            take()
            left = (operator, left, operand())
        return left

    def either():
        return chain("OR", lambda: chain("AND", atom))

    tree = either()
    if rest:
        raise Unreadable(text)
    return tree


def satisfied(tree, allowed):
    """The licences by which `allowed` covers an expression; `None` when it does not."""
    if isinstance(tree, str):
        return {tree} if tree in allowed else None
    operator, left, right = tree
    left, right = satisfied(left, allowed), satisfied(right, allowed)
    if operator == "AND":
        return None if left is None or right is None else left | right
    found = [side for side in (left, right) if side is not None]
    return set().union(*found) if found else None


# What the reader of expressions must get right; looked at in every run, before it judges anything.
EXPRESSIONS = [
    ("MIT", {"MIT"}, True),
    ("MIT", {"ISC"}, False),
    ("MIT OR Apache-2.0", {"Apache-2.0"}, True),
    ("MIT/Apache-2.0", {"Apache-2.0"}, True),
    ("Apache-2.0 / MIT / MPL-2.0", {"MIT"}, True),
    ("MIT AND Apache-2.0", {"MIT"}, False),
    ("(MIT OR Apache-2.0) AND Unicode-3.0", {"MIT"}, False),
    ("(MIT OR Apache-2.0) AND Unicode-3.0", {"MIT", "Unicode-3.0"}, True),
    ("MIT OR Apache-2.0 AND ISC", {"MIT"}, True),
    ("MIT AND Apache-2.0 OR ISC", {"MIT"}, False),
    ("Apache-2.0 WITH LLVM-exception", {"Apache-2.0"}, False),
    ("Apache-2.0 WITH LLVM-exception OR MIT", {"MIT"}, True),
]


def cargo(*arguments):
    result = subprocess.run(["cargo", *arguments], cwd=ROOT, capture_output=True, text=True)
    if result.returncode != 0:
        sys.stderr.write(result.stderr)
        print(f"licences: `cargo {arguments[0]}` failed", file=sys.stderr)
        sys.exit(2)
    return result.stdout


def built():
    """Name and version of every package that a release build compiles, on any platform."""
    lines = cargo(
        "tree", "--workspace", "--locked", "--edges=normal,build", "--target=all", "--prefix=none", "--format={p}"
    ).splitlines()
    return {(name, version.removeprefix("v")) for name, version, *_ in (line.split() for line in lines if line)}


def name_of(entry):
    """The crate that an entry of the file is about; its version, when it gives one, is not looked at."""
    text = entry if isinstance(entry, str) else entry.get("crate") or entry["name"]
    return re.split(r"[@:]", text)[0]


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--config", type=Path, default=ROOT / ".deny.toml", metavar="FILE")
    config = tomllib.loads(arguments.parse_args().config.read_text())
    licenses, bans, sources = (config.get(section, {}) for section in ("licenses", "bans", "sources"))
    allow = set(licenses.get("allow", []))
    exceptions = {name_of(entry): set(entry["allow"]) for entry in licenses.get("exceptions", [])}
    clarify = {name_of(entry): entry["expression"] for entry in licenses.get("clarify", [])}
    banned = {name_of(entry): entry.get("reason") if isinstance(entry, dict) else "" for entry in bans.get("deny", [])}
    registries = tuple(f"registry+{url}" for url in sources.get("allow-registry", [])) or CRATES_IO

    passed, failed, used, excepted = 0, 0, set(), set()

    def check(good, complaint):
        nonlocal passed, failed
        if good:
            passed += 1
        else:
            failed += 1
            print(complaint)

    for text, allowed, expected in EXPRESSIONS:
        check((satisfied(parse(text), allowed) is not None) == expected, f"this script misreads `{text}`")

    metadata = json.loads(cargo("metadata", "--format-version=1", "--locked"))
    wanted = built()
    packages = [package for package in metadata["packages"] if (package["name"], package["version"]) in wanted]
    missing = wanted - {(package["name"], package["version"]) for package in packages}
    check(packages and not missing, f"cargo metadata does not know {sorted(missing)}")

    for package in sorted(packages, key=lambda package: (package["name"], package["version"])):
        name, title = package["name"], f"{package['name']} {package['version']}"
        expression = clarify.get(name) or package["license"]
        if not expression:
            check(False, f"{title}: the manifest names no licence; look at its files and add a licenses.clarify entry")
        else:
            try:
                by = satisfied(parse(expression), allow | exceptions.get(name, set()))
            except Unreadable:
                by = None
            used |= by or set()
            if by and not by <= allow:
                excepted.add(name)
            check(by is not None, f"{title}: `{expression}` is not covered by licenses.allow")
        reason = f": {banned[name]}" if banned.get(name) else ""
        check(name not in banned, f"{title} is banned{reason}")
        source = package["source"]
        if source is None:
            check(Path(package["manifest_path"]).is_relative_to(ROOT), f"{title} comes from a folder outside this one")
        else:
            check(source in registries, f"{title} comes from {source.split('+')[0]}, not from a permitted registry")

    for licence in sorted(allow - used):
        check(False, f"licenses.allow: nothing needs `{licence}`; remove it")
    for name in sorted(exceptions.keys() - excepted):
        check(False, f"licenses.exceptions: `{name}` needs none; remove it")

    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
