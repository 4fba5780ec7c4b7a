"""docs/isp.md says what the code has, and the published tables in it give the ratios that are drawn from them."""

from __future__ import annotations

import re
from dataclasses import fields

import numpy as np
import pytest
from numpy.typing import NDArray

from lensbench.isp import View
from lensbench.isp.camera import CAMERAS
from lensbench.isp.tiers import ENTRIES, get_tier, tier_names
from lensbench.isp.view import CHOICES, CORRUPTIONS
from scripts.calibrate_stages import STEP
from tests.test_docs import code, table, text

PAGE = "isp.md"


def section(title: str) -> str:
    return text(PAGE).split(f"\n## {title}\n")[1].split("\n## ")[0]


def test_every_entry_of_a_view_is_documented_and_no_other() -> None:
    rows = table(section("Stages"), "stage")
    documented = [name for row in rows for name in re.findall(r"`(\w+)`", row[1])]
    assert sorted(documented) == sorted(field.name for field in fields(View) if field.name != "name")
    for kinds in CHOICES.values():
        assert all(f"`{kind}`" in section("Stages") or f'"{kind}"' in section("Stages") for kind in kinds)


def test_every_tier_is_documented_with_its_views() -> None:
    rows = table(section("Tiers"), "letter")
    assert {name for row in rows for name in re.findall(r"`([\w-]+)`", row[1])} == set(tier_names())
    for letter, names, views, _ in rows:
        for tier in map(get_tier, re.findall(r"`([\w-]+)`", names)):
            assert letter == tier.letter and views.split()[0] == str(len(tier.views))
    entries = " ".join(row[0] for row in table(section("Tiers"), "entry of a tier"))
    assert set(re.findall(r"\w+", entries)) - {"NAME"} == set(ENTRIES)


def test_every_entry_of_a_camera_is_documented() -> None:
    documented = {code(row[0]) for row in table(section("Cameras"), "entry")}
    assert documented == set(re.findall(r"^(\w+) =", CAMERAS.read_text(encoding="utf-8"), re.MULTILINE))


def test_the_box_and_the_step_are_documented() -> None:
    box = " ".join(row[0] for row in table(section("Worst case"), "parameter of the box"))
    assert re.findall(r"`(\w+)`", box) == sorted(get_tier("worst").box, key=box.index)
    targets = get_tier("stages-raw_drone").calibration["targets"]
    assert f"k × {STEP}" in section("Calibrated severities") and targets == [round(STEP * k, 4) for k in range(1, 6)]


def published(title: str) -> tuple[list[str], NDArray[np.float64]]:
    body = section("Published results").split(f"### {title}")[1].split("\n### ")[0]
    head = next(line for line in body.splitlines() if line.startswith("| train |"))
    rows = table(body, "train")
    assert [row[0] for row in rows] == [view.name for view in get_tier("paper-12").views]
    return [cell.strip() for cell in head.split("|")[2:-1]], np.array([[float(cell) for cell in r[1:]] for r in rows])


@pytest.mark.parametrize(("name", "drop", "ratio"), [("Microscopy", 0.0236, "10.3"), ("Drone", 0.0461, "3.9")])
def test_the_published_ratio_follows_from_the_published_tables(name: str, drop: float, ratio: str) -> None:
    of = "accuracy" if name == "Microscopy" else "IoU"
    views, matrix = published(f"{name}: {of} of a")
    kinds, corrupted = published(f"{name}: {of} under corruptions")
    assert views == [view.name for view in get_tier("paper-12").views] and kinds == ["none", *CORRUPTIONS]
    matched = matrix.diagonal()
    by_view = (matched[:, None] - matrix).sum() / (matrix.size - len(matched))
    by_corruption = (corrupted[:, :1] - corrupted[:, 1:]).mean()
    assert by_view == pytest.approx(drop, abs=5e-5)
    assert f"{by_corruption / by_view:.1f}" == ratio
    assert f"{ratio} times" in section("Published results")
    np.testing.assert_array_equal(corrupted[:, 0], matched)
