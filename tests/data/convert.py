"""Converts yt-dlp's test tables and VADER's rated tweets to NDJSON, and counts what came out.

    convert.py ARCHIVES OUT

Reads the yt-dlp that this interpreter has installed and the vaderSentiment source archive in ARCHIVES. Writes to OUT
personas.ndjson, videos.ndjson, memories.ndjson, and facts.json: counts made by reading the finished files again, for
tests to compare with. Everything is derived from the packages alone, so the same versions give the same bytes.
Whatever is left out is printed with its reason.
"""

import collections
import datetime
import hashlib
import io
import json
import os
import pathlib
import re
import sys
import tarfile

CHANNELS = 8
TWEETS = "tweets"
# yt-dlp's tests compare these by rule instead of by value: they are no titles, tags or descriptions.
RULES = ("re:", "md5:", "startswith:", "contains:", "count:", "mincount:", "maxcount:")
# The conference at which the tweets were published; the set itself has no times.
FIRST_TWEET = datetime.datetime(2014, 6, 1, tzinfo=datetime.timezone.utc)
# VADER's own limit of neutral is 0.05 on a scale up to 1; raters used one up to 4.
NEUTRAL = 0.2

skipped = collections.Counter()


def storable(text):
    """The text, or None (counted) when it is blank or cannot be stored as one."""
    if not text.strip():
        return None
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        skipped["texts with a NUL or a lone surrogate"] += 1
        return None
    return text


def literal(value):
    """The text of a field of a test table, or None when it is a rule, a type or blank."""
    return storable(value) if isinstance(value, str) and not value.startswith(RULES) else None


def literals(values):
    """The literal texts of a list, each once, in order."""
    found = [literal(value) for value in values] if isinstance(values, (list, tuple)) else []
    return list(dict.fromkeys(value for value in found if value is not None))


def number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def channel(title):
    return f"channel-{int(hashlib.sha256(title.encode()).hexdigest(), 16) % CHANNELS}"


def published_at(value):
    if value is None:
        return None
    if isinstance(value, str) and re.fullmatch(r"\d{8}", value):
        try:
            return datetime.datetime.strptime(value, "%Y%m%d").strftime("%Y-%m-%dT00:00:00Z")
        except ValueError:
            pass
    skipped["upload dates that are no date"] += 1
    return None


def duration_ms(value):
    if value is None:
        return None
    if number(value) and value >= 0:
        return round(value * 1000)
    skipped["durations that are no number"] += 1
    return None


def video(extractor, url, info, occurrence):
    """One line of videos.ndjson, or None with the reason counted."""
    if info.get("title") is None:
        skipped["test cases without a title"] += 1
        return None
    title = literal(info["title"])
    if title is None:
        skipped["test cases whose title is a rule or a type"] += 1
        return None
    # Without the host: some extractors pick one of several at random each time they are loaded.
    path = re.sub(r"^(\w+:)?//[^/]+", "", url or "")
    name = "\x1f".join((extractor, path, title))
    occurrence[name] += 1
    identity = hashlib.sha256(name.encode()).hexdigest()[:24]
    line = {
        # A test table may hold the same address and title twice, with other options.
        "externalId": f"yt-dlp-{identity}" + (f"-{occurrence[name]}" if occurrence[name] > 1 else ""),
        "persona": channel(title),
        "title": title,
        "tags": literals(info.get("tags")),
    }
    if (description := literal(info.get("description"))) is not None:
        line["description"] = description
    if categories := literals(info.get("categories")):
        line["category"] = categories[0]
    if (duration := duration_ms(info.get("duration"))) is not None:
        line["durationMs"] = duration
    if (published := published_at(info.get("upload_date"))) is not None:
        line["publishedAt"] = published
    return line


def videos():
    # The lazy classes have no test tables.
    os.environ["YTDLP_NO_LAZY_EXTRACTORS"] = "1"
    from yt_dlp.extractor import gen_extractor_classes

    occurrence = collections.Counter()
    for extractor in sorted(gen_extractor_classes(), key=lambda extractor: extractor.__name__):
        for case in extractor.get_testcases(include_onlymatching=True):
            if (info := case.get("info_dict")) is None:
                skipped["test cases that hold only an address"] += 1
            elif (line := video(extractor.__name__, case.get("url"), info, occurrence)) is not None:
                yield line


def tweets_file(archives):
    (source,) = pathlib.Path(archives).glob("vader*.tar.gz")
    with tarfile.open(source) as outer:
        (inner,) = [member for member in outer.getmembers() if member.name.endswith("/hutto_ICWSM_2014.tar.gz")]
        with tarfile.open(fileobj=io.BytesIO(outer.extractfile(inner).read())) as archive:
            return archive.extractfile("hutto_ICWSM_2014/tweets_GroundTruth.txt").read().decode("utf-8")


def memories(archives):
    for line in tweets_file(archives).splitlines():
        row, mean, text = line.split("\t", 2)
        text, mean = storable(text), float(mean)
        if text is None:
            skipped["tweets without a text"] += 1
            continue
        tag = "neutral" if abs(mean) < NEUTRAL else "positive" if mean > 0 else "negative"
        at = FIRST_TWEET + datetime.timedelta(minutes=int(row))
        yield {
            "externalId": f"vader-tweet-{row}",
            "persona": TWEETS,
            "text": text,
            "kind": "EPISODIC",
            "importance": min(abs(mean) / 4, 1.0),
            "source": "vaderSentiment",
            "occurredAt": at.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "tags": [tag],
        }


def personas():
    for handle in [f"channel-{place}" for place in range(CHANNELS)] + [TWEETS]:
        yield {"externalId": f"persona-{handle}", "handle": handle, "name": handle.replace("-", " ").capitalize()}


def write(path, lines):
    """Writes to a file beside it first, so that an interrupted run leaves no half of a set."""
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", encoding="utf-8", newline="\n") as file:
        for line in lines:
            file.write(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n")
    partial.replace(path)


def read(path):
    with path.open("rb") as file:
        lines = [json.loads(line.decode("utf-8")) for line in file]
    ids = [line["externalId"] for line in lines]
    assert len(set(ids)) == len(ids), f"{path.name}: external ids are not unique"
    return lines


def counts(values, most=None):
    """Descending by count, then by name, so that the order is the same everywhere."""
    counted = sorted(collections.Counter(values).items(), key=lambda item: (-item[1], item[0]))
    return dict(counted[:most])


def facts(out):
    people, films, texts = (read(out / f"{name}.ndjson") for name in ("personas", "videos", "memories"))
    handles = {person["handle"] for person in people}
    assert {line["persona"] for line in films + texts} <= handles, "a line names an unknown persona"
    assert all(0 <= text["importance"] <= 1 for text in texts)
    longest = lambda lines, field: max(len(line[field]) for line in lines if field in line)
    return {
        "personas": len(people),
        "videos": {
            "count": len(films),
            "perPersona": counts(film["persona"] for film in films),
            "perCategory": counts(film["category"] for film in films if "category" in film),
            "perTagTop20": counts((tag for film in films for tag in film["tags"]), 20),
            "withCategory": sum("category" in film for film in films),
            "withTags": sum(bool(film["tags"]) for film in films),
            "withDescription": sum("description" in film for film in films),
            "withDurationMs": sum("durationMs" in film for film in films),
            "totalDurationMs": sum(film.get("durationMs", 0) for film in films),
            "withPublishedAt": sum("publishedAt" in film for film in films),
            "firstPublishedAt": min(film["publishedAt"] for film in films if "publishedAt" in film),
            "lastPublishedAt": max(film["publishedAt"] for film in films if "publishedAt" in film),
            "distinctTitles": len({film["title"] for film in films}),
            "longestTitle": longest(films, "title"),
            "longestDescription": longest(films, "description"),
            "mostTags": max(len(film["tags"]) for film in films),
            "longestTag": max(len(tag) for film in films for tag in film["tags"]),
        },
        "memories": {
            "count": len(texts),
            "perPersona": counts(text["persona"] for text in texts),
            "perTag": counts(tag for text in texts for tag in text["tags"]),
            "firstOccurredAt": min(text["occurredAt"] for text in texts),
            "lastOccurredAt": max(text["occurredAt"] for text in texts),
            "distinctTexts": len({text["text"] for text in texts}),
            "longestText": longest(texts, "text"),
        },
    }


def main(archives, out):
    out = pathlib.Path(out)
    write(out / "personas.ndjson", personas())
    write(out / "videos.ndjson", videos())
    write(out / "memories.ndjson", memories(archives))
    found = facts(out)
    partial = out / "facts.json.partial"
    partial.write_text(json.dumps(found, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    partial.replace(out / "facts.json")
    print(f"{found['personas']} personas, {found['videos']['count']} videos, {found['memories']['count']} memories in {out}")
    for reason, count in sorted(skipped.items()):
        print(f"left out: {count} {reason}")


if __name__ == "__main__":
    main(*sys.argv[1:])
