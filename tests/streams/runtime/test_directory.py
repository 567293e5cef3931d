"""The state folder: who may use what, and what is cleaned up."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from ottla.errors import ConfigurationError
from ottla.streams.runtime.directory import StateDirectory, delete_state


def test_a_process_that_comes_back_is_the_same_instance_and_another_is_another(tmp_path: Path) -> None:
    first = StateDirectory(tmp_path, "app")
    second = StateDirectory(tmp_path, "app")
    assert first.instance_id != second.instance_id
    known = first.instance_id
    first.close()
    again = StateDirectory(tmp_path, "app")
    assert again.instance_id == known
    again.close()
    second.close()


def test_a_task_belongs_to_one_process_at_a_time(tmp_path: Path) -> None:
    first, second = StateDirectory(tmp_path, "app"), StateDirectory(tmp_path, "app")
    assert first.claim("0_1")
    assert not second.claim("0_1")
    assert second.claim("0_2")
    first.release("0_1")
    assert second.claim("0_1")
    first.close()
    second.close()


def test_state_is_deleted_when_nobody_has_used_it_for_long_enough(tmp_path: Path) -> None:
    directory = StateDirectory(tmp_path, "app")
    for task in ("0_0", "0_1", "0_2"):
        directory.claim(task)
        directory.folder(task, "s").mkdir(parents=True)
    directory.release("0_1")
    directory.release("0_2")
    long_ago = time.time() - 1000
    os.utime(directory.path / "locks" / "0_1.lock", (long_ago, long_ago))
    assert directory.clean(600) == ["0_1"]
    assert sorted(one.name for one in (directory.path / "tasks").iterdir()) == ["0_0", "0_2"]
    directory.close()


def test_state_older_than_what_the_changelog_remembers_of_deletions_is_not_continued(tmp_path: Path) -> None:
    directory = StateDirectory(tmp_path, "app")
    for task, hours in (("0_0", 13), ("0_1", 11)):
        directory.claim(task)
        directory.folder(task, "s").mkdir(parents=True)
        directory.release(task)
        then = time.time() - hours * 3600
        os.utime(directory.path / "locks" / f"{task}.lock", (then, then))
        assert directory.claim(task)
    assert not directory.folder("0_0", "s").exists()
    assert directory.folder("0_1", "s").exists()
    # In use, it does not age, however long nothing is committed.
    long_ago = time.time() - 100_000
    os.utime(directory.path / "locks" / "0_1.lock", (long_ago, long_ago))
    directory.clean(1e9)
    assert time.time() - (directory.path / "locks" / "0_1.lock").stat().st_mtime < 100
    directory.close()


def test_the_state_of_a_running_application_is_not_deleted(tmp_path: Path) -> None:
    directory = StateDirectory(tmp_path, "app")
    with pytest.raises(ConfigurationError, match="is running on this machine"):
        delete_state(tmp_path, "app")
    directory.close()
    assert delete_state(tmp_path, "app")
    assert not (tmp_path / "app").exists()
    assert not delete_state(tmp_path, "app")


def test_a_folder_that_cannot_be_written_is_told_with_the_setting(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match=r"streams\.state_dir"):
        StateDirectory(tmp_path / "file", "app")
