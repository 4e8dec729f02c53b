"""Rows on disk that an interrupted run can be continued from."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from eorestore.errors import DataError, UsageError, WriteError
from eorestore.models.model import Prepared
from eorestore.restorer.journal import Journal
from eorestore.restorer.plan import Layout
from eorestore.restorer.rows import Rows
from eorestore.restorer.scene import PackedMask

LAYOUT = Layout(3, "uint16", (40, 17))
NO_MAPS = np.empty((0, 10, 17), np.float32)
IDENTITY = {"model": "identity", "tile": 16, "bands": ("B02", "B03")}


def rows(seed=0):
    generator = np.random.default_rng(seed)
    image = generator.integers(0, 65535, (3, 40, 17), dtype=np.uint16)
    return image, generator.integers(0, 3, (40, 17), dtype=np.uint8)


@pytest.fixture
def interrupted(tmp_path):
    """A journal in which 30 of 40 rows stand, in strips of 10."""
    image, source = rows()
    folder = tmp_path / "out.tif.partial"
    journal = Journal(folder, LAYOUT, identity=IDENTITY, resume=False)
    for first in (0, 10, 20):
        journal.write(Rows(first, image[:, first : first + 10], source[first : first + 10], NO_MAPS))
    journal.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    return folder


def reopen(folder, *, resume=True, **changes):
    return Journal(folder, LAYOUT, identity=IDENTITY | changes, resume=resume)


def test_what_was_written_comes_back(interrupted):
    image, source = rows()
    with reopen(interrupted) as journal:
        assert journal.rows_done == 30
        _, back, origin, maps = journal.read(0, 30)
        assert maps.shape == (0, 30, 17)
        assert np.array_equal(back, image[:, :30])
        assert np.array_equal(origin, source[:30])
        journal.write(Rows(30, image[:, 30:], source[30:], NO_MAPS))
        strips = list(journal.strips())
    assert np.array_equal(np.concatenate([rows.raw for rows in strips], axis=1), image)


def test_a_torn_last_line_costs_one_strip(interrupted):
    file = interrupted / "journal.jsonl"
    file.write_text(file.read_text()[:-9])
    with reopen(interrupted) as journal:
        assert journal.rows_done == 20


@pytest.mark.parametrize("name", ["image.raw", "source.raw"])
def test_a_wrong_checksum_drops_the_strip_and_all_after_it(interrupted, name):
    with (interrupted / name).open("r+b") as file:
        row = LAYOUT.row_bytes if name == "image.raw" else LAYOUT.size[1]
        file.seek(12 * row)
        byte = file.read(1)[0]
        file.seek(12 * row)
        file.write(bytes([byte ^ 1]))
    with reopen(interrupted) as journal:
        assert journal.rows_done == 10


@pytest.fixture
def with_maps(tmp_path):
    """A journal of two maps in which 20 of 40 rows stand."""
    image, source = rows()
    maps = np.random.default_rng(3).random((2, 40, 17), dtype=np.float32)
    maps[0, 5] = np.nan
    layout = replace(LAYOUT, maps=2)
    journal = Journal(tmp_path / "maps.partial", layout, identity=IDENTITY, resume=False)
    for first in (0, 10):
        piece = slice(first, first + 10)
        journal.write(Rows(first, image[:, piece], source[piece], maps[:, piece]))
    journal.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    return tmp_path / "maps.partial", layout, maps


def test_maps_come_back_with_their_rows(with_maps):
    folder, layout, maps = with_maps
    with Journal(folder, layout, identity=IDENTITY, resume=True) as journal:
        assert journal.rows_done == 20
        assert np.array_equal(journal.read(5, 15).maps, maps[:, 5:20], equal_nan=True)
        assert np.array_equal(journal.read(5, 15).raw, rows()[0][:, 5:20])


def test_a_damaged_map_drops_its_strip_too(with_maps):
    folder, layout, _ = with_maps
    with (folder / "maps.raw").open("r+b") as file:
        file.seek(12 * layout.map_bytes)
        file.write(b"\x01\x02")
    with Journal(folder, layout, identity=IDENTITY, resume=True) as journal:
        assert journal.rows_done == 10


def test_rows_that_never_reached_the_disk_are_dropped(interrupted):
    with (interrupted / "image.raw").open("r+b") as file:
        file.truncate(25 * LAYOUT.row_bytes)
    with reopen(interrupted) as journal:
        assert journal.rows_done == 20


def test_other_settings_are_refused_by_name_and_nothing_is_lost(interrupted):
    with pytest.raises(UsageError, match="tile"):
        reopen(interrupted, tile=32)
    with reopen(interrupted) as journal:
        assert journal.rows_done == 30


def test_without_resume_the_run_starts_again(interrupted):
    with reopen(interrupted, resume=False) as journal:
        assert journal.rows_done == 0


def test_a_run_killed_before_it_named_itself_starts_again(interrupted):
    (interrupted / "settings.json").unlink()
    with reopen(interrupted) as journal:
        assert journal.rows_done == 0


def test_success_and_errors_leave_nothing_an_interruption_leaves_the_folder(tmp_path):
    folder = tmp_path / "out.tif.partial"
    with Journal(folder, LAYOUT, identity=IDENTITY, resume=False):
        assert folder.is_dir()
    assert not folder.exists()
    with pytest.raises(DataError), Journal(folder, LAYOUT, identity=IDENTITY, resume=False):
        raise DataError("bad", fix="mend")
    assert not folder.exists()
    with pytest.raises(KeyboardInterrupt), Journal(folder, LAYOUT, identity=IDENTITY, resume=False):
        raise KeyboardInterrupt
    assert folder.is_dir()


def test_a_folder_that_cannot_be_made_is_a_write_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError, match="cannot be written"):
        Journal(tmp_path / "file" / "out.tif.partial", LAYOUT, identity=IDENTITY, resume=False)


def test_what_prepare_learned_comes_back_exactly(tmp_path):
    mask = np.random.default_rng(1).random((40, 17)) < 0.3
    prepared = Prepared({"surface": torch.randn(1, 3, 4, 5)}, {"mean": torch.randn(3)}, ("beware",), margin=3)
    with Journal(tmp_path / "x.partial", LAYOUT, identity=IDENTITY, resume=False) as journal:
        assert journal.load_survey() is None
        journal.save_survey(PackedMask.from_array(mask), prepared, {"share": 1 / 3, "valid": 1.0, "factor": 2})
        packed, back, facts = journal.load_survey()
        assert np.array_equal(packed.bits, PackedMask.from_array(mask).bits)
        assert torch.equal(back.maps["surface"], prepared.maps["surface"])
        assert torch.equal(back.constants["mean"], prepared.constants["mean"])
        assert (back.warnings, back.margin) == (("beware",), 3)
        assert facts == {"share": 1 / 3, "valid": 1.0, "factor": 2}
        journal.save_survey(None, Prepared(), facts)
        assert journal.load_survey()[0] is None


def test_the_settings_stand_whole_or_not_at_all(interrupted):
    assert json.loads((interrupted / "settings.json").read_text())["tile"] == 16
    assert not list(interrupted.glob("settings.json.*"))
