"""Power cuts (F64): the state directory on a loop-mounted ext4 that is shut down under load.

EXT4_IOC_SHUTDOWN with NOLOGFLUSH drops everything that no sync has made durable, as a cut does. The
callers are the witnesses: what they saw complete, and when.
"""

import fcntl
import os
import random
import struct
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
from ledger import TERMINAL, Row
from load import Call, Load, shards
from weir import Weir

EXT4_IOC_SHUTDOWN = 0x8004587D
NOLOGFLUSH = struct.pack("I", 2)
WINDOW = {"strict": 0.0, "crash-safe": 0.1}
"""Seconds before a cut of which a mode may lose what its callers saw."""


def command(*words: object) -> str:
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{words}: {done.stderr}"
    return done.stdout


class Disk:
    """An ext4 of its own, mounted at `place`."""

    def __init__(self, image: Path, place: Path) -> None:
        self.image, self.place = image, place
        place.mkdir(parents=True)
        with open(image, "wb") as file:
            file.truncate(128 << 20)
        command("mkfs.ext4", "-q", "-F", image)
        self.mount()

    def mount(self) -> None:
        command("mount", "-o", "loop", self.image, self.place)

    def cut(self) -> None:
        """Nothing that is not on the disk now will ever be."""
        place = os.open(self.place, os.O_RDONLY)
        try:
            fcntl.ioctl(place, EXT4_IOC_SHUTDOWN, NOLOGFLUSH)
        finally:
            os.close(place)

    def unmount(self) -> None:
        command("umount", self.place)


class Syncs(threading.Thread):
    """Syncs beside Weir until the cut: what a sync takes is the machine's doing."""

    def __init__(self, place: Path) -> None:
        super().__init__()
        self.place, self.slowest = place, 0.0

    def run(self) -> None:
        with open(self.place / "beside", "wb", buffering=0) as file:
            began = time.monotonic()
            until = began + 30
            with suppress(OSError):
                while began < until:
                    began = time.monotonic()
                    file.write(b"beside")
                    os.fdatasync(file)
                    self.slowest = max(self.slowest, time.monotonic() - began)
                    time.sleep(0.05)
        self.slowest = max(self.slowest, time.monotonic() - began)

    def slack(self) -> float:
        """A row waits for at most two syncs before its own; the rest is for busy processors."""
        return max(0.6, 3 * self.slowest)


@pytest.fixture
def disk(tmp_path):
    try:
        disk = Disk(tmp_path / "disk.img", tmp_path / "weir0" / "state")
    except (AssertionError, OSError) as error:
        pytest.skip(f"no loop-mounted ext4 here: {error}")
    yield disk
    subprocess.run(["umount", "-l", disk.place], capture_output=True)


def cut_once(weir: Weir, disk: Disk, seed: int) -> tuple[list[Call], float, float]:
    """Load, a cut at a random moment, a new start. The calls, when it was, and the slack of the machine."""
    dice = random.Random(seed)
    syncs = Syncs(disk.place)
    syncs.start()
    with Load(weir, seed) as load:
        time.sleep(1.0 + dice.random() * 0.5)
        at = time.monotonic()
        disk.cut()
        weir.power_cut = True
        weir.kill()
    syncs.join()
    disk.unmount()
    disk.mount()
    weir.launch()
    deadline = time.monotonic() + 60
    while weir.metric("spool_rows") > 0:
        assert time.monotonic() < deadline, "the spool is not delivered"
        time.sleep(0.05)
    return load.calls, at, syncs.slack()


def judge(weir: Weir, calls: list[Call], at: float, window: float, rows: dict[str, list[Row]]) -> list[str]:
    """What is wrong with the rows of these calls; those that ended in the window before the cut may be lost."""
    wrong = []
    usages = {line["id"]: line["usage"] for line in weir.chaos.truth.lines("usage")}
    for call in calls:
        found = rows.get(call.id, [])
        if len(found) > 1:
            wrong.append(f"{call}: {len(found)} rows")
        if not call.whole or call.ended_at > at:
            continue
        if not found:
            if call.ended_at <= at - window:
                wrong.append(f"{call}: lost {at - call.ended_at:.3f} s after its end, {window:.3f} s allowed")
            continue
        (row,) = found[:1]
        usage = usages[call.id]
        if call.ended_at <= at - window:
            told = (row["input"], row["output"], row["source"], row["outcome"], row["flags"] & TERMINAL)
            want = (usage["prompt_tokens"], usage["completion_tokens"], "reported", "ok", TERMINAL)
            if told != want:
                wrong.append(f"{call}: {told}, not {want}")
        elif row["source"] == "reported" and row["output"] != usage["completion_tokens"]:
            wrong.append(f"{call}: invented {row['output']} tokens")
    return wrong


def mode_of(seed: int) -> str:
    return list(WINDOW)[seed % len(WINDOW)]


@pytest.mark.parametrize("seeds", shards("WEIR_POWER_CUTS", 24), ids=lambda seeds: f"{mode_of(seeds[0])}-{seeds[0]}")
def test_F64_a_power_cut_costs_no_more_than_the_mode_says(run, disk, seeds):
    mode = mode_of(seeds[0])
    weir = run("a", settings={"ledger": {"durability": mode, "slots": 256, "spool_bytes": "64MiB"}},
               a={"first_content": "5s", "idle": "5s"})
    wrong, whole = [], 0
    for seed in seeds:
        calls, at, slack = cut_once(weir, disk, seed)
        rows: dict[str, list[Row]] = {}
        for row in weir.ledger.rows():
            rows.setdefault(row["session"], []).append(row)
        window = WINDOW[mode] and WINDOW[mode] + slack
        wrong += judge(weir, calls, at, window, rows)
        whole += sum(call.whole for call in calls)
    assert not wrong, f"{len(wrong)} differ:\n" + "\n".join(wrong[:20])
    assert whole > 20, "too little came through to prove anything"
