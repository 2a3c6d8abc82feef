"""What a build made and what it left out, for people and for programs."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path

from data_builders.store import Outcome
from data_builders.video import Rejection, Video
from lipsync_jax.data.schema import FPS

FILE = "report.json"


def write_report(
    folder: Path, header: Mapping[str, object], outcomes: Mapping[Video, Outcome]
) -> None:
    """Writes report.json: the header, what each split holds, and every rejection."""
    report = {
        **header,
        "videos": len(outcomes),
        "splits": {name: _sizes(part) for name, part in by_split(outcomes).items()},
        "rejected": [asdict(row) for row in _rejected(outcomes.values())],
        "moved": [
            asdict(row) for outcome in outcomes.values() for row in outcome.moved
        ],
    }
    text = json.dumps(report, indent=2, ensure_ascii=False)
    (folder / FILE).write_text(text + "\n", "utf-8")


def summary(outcomes: Mapping[Video, Outcome]) -> list[str]:
    """The same in a few lines."""
    lines = []
    for split, part in by_split(outcomes).items():
        sizes = _sizes(part)
        who = f", {sizes['speakers']} speakers" if sizes["speakers"] else ""
        lines.append(f"{split}: {sizes['clips']} clips, {sizes['seconds']:.1f} s{who}")
    moved = sum(len(outcome.moved) for outcome in outcomes.values())
    if moved:
        lines.append(f"sound moved onto the mouth in {moved} clips")
    return lines + rejections(outcomes.values())


def by_split(outcomes: Mapping[Video, Outcome]) -> dict[str, dict[Video, Outcome]]:
    """The videos that have clips, split by split."""
    parts: dict[str, dict[Video, Outcome]] = {}
    for video, outcome in outcomes.items():
        if outcome.clips:
            parts.setdefault(video.split, {})[video] = outcome
    return parts


def rejections(outcomes: Iterable[Outcome]) -> list[str]:
    """One line for each reason why something was left out, the most frequent first."""
    rows = _rejected(outcomes)
    lines = []
    for reason, count in Counter(row.reason for row in rows).most_common():
        example = next(row for row in rows if row.reason == reason)
        detail = example.detail.strip().splitlines()[-1:]
        lines.append(f"left out, {reason}: {count} (for example {_place(example)})")
        lines[-1] += "".join(f": {line}" for line in detail)
    return lines


def _place(row: Rejection) -> str:
    if row.start is None:
        return row.video
    return f"{row.video} from {row.start:.2f} to {row.stop:.2f} s"


def _rejected(outcomes: Iterable[Outcome]) -> list[Rejection]:
    return [row for outcome in outcomes for row in outcome.rejected]


def _sizes(part: Mapping[Video, Outcome]) -> dict[str, object]:
    return {
        "clips": sum(outcome.clips for outcome in part.values()),
        "seconds": round(sum(outcome.frames for outcome in part.values()) / FPS, 2),
        "speakers": len({video.speaker for video in part} - {""}),
    }
