"""Two hundred slow callers beside good ones: each is closed by its deadline, and no good one notices."""

from __future__ import annotations

import shutil

import conf
import pytest
import slow
from weir import Weir

CLIENTS = 200
DEADLINE = 2


@pytest.mark.parametrize("mode", slow.MODES)
def test_F47_slow_callers_are_closed_and_good_ones_served(chaos, tmp_path, mode):
    if not shutil.which("slowhttptest"):
        pytest.skip("needs slowhttptest")
    deployment = conf.Deployment([conf.Provider("a")], slow.models(), slow.settings(DEADLINE))
    weir = Weir(chaos, deployment, tmp_path / "weir").start()
    try:
        with slow.Good(weir) as good:
            ended = slow.attack(weir, mode, CLIENTS, most=30)
        assert ended.all_closed, ended.said
        assert ended.seconds < slow.RAMP_SECONDS + 15, ended
        assert sum(ended.counted.values()) >= 0.9 * CLIENTS, ended
        assert good.seconds and not good.failed, good.failed[:5]
        weir.settles(0, "in_flight")
        weir.stop()
    finally:
        if weir.running():
            weir.kill()
