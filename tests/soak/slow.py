#!/usr/bin/env python3
"""Thousands of slow callers beside good ones; prints one JSON object last.

    tests/soak/slow.py [--quick] [--clients 2000] [--deadline 10] [--modes headers,body,read]

Needs bench-load and bench-upstream, as overload.py does, and nginx. Good callers ask Weir by the clock:
alone, beside each attack on an nginx, and beside the same attack on Weir. Fails where an attacker outlives
its deadline, a good caller's request fails, or the slowest hundredth of good requests takes half as long
again beside the attack on Weir. Attackers would have a machine of their own. Here they have half of the
processors, with the good callers, and share the kernel's work for their packets with everybody: the line to
compare with is the attack that Weir takes no part in. Weir, its upstream and nginx have the other half. All
but the attackers run before everything else on the machine where the kernel permits it (as root), so that
neither attackers nor neighbours are what good callers wait for.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "blackbox"))

import conf  # noqa: E402
import slow  # noqa: E402
from overload import EXAMPLES, offer  # noqa: E402
from weir import Weir, free_ports  # noqa: E402

RATE, CONNECTIONS = 200.0, 16
"""What good callers ask for in a second, and over how many connections at most."""
SLOWER = 1.5
CORES = sorted(os.sched_getaffinity(0))
OURS, THEIRS = CORES[:len(CORES) // 2], CORES[len(CORES) // 2:]
ASIDE = ("chrt", "--other", "0")


def good(weir: Weir, seconds: float) -> dict:
    """Good callers for so many seconds."""
    seen = offer(weir, CONNECTIONS, seconds, RATE, "small")
    return {"requests": seen["offered"], "failed": seen["offered"] - seen["served"],
            "p50_ms": seen["served_p50_us"] / 1000, "p99_ms": seen["served_p99_us"] / 1000}


def spent(weir: Weir) -> tuple[float, float]:
    """Seconds Weir's threads have run, and have waited for a processor."""
    found = [path.read_text().split() for path in Path(f"/proc/{weir.process.pid}/task").glob("*/schedstat")]
    return tuple(round(sum(int(each[at]) for each in found) / 1e9, 3) for at in (0, 1))


def beside(weir: Weir, seconds: float, attack: Callable[[], Any]) -> tuple[dict, Any]:
    """Good callers beside an attack, and what came of that."""
    with ThreadPoolExecutor() as pool:
        ran, waited = spent(weir)
        served = pool.submit(good, weir, seconds)
        ended = attack()
        now = spent(weir)
        return served.result() | {"weir_ran_s": round(now[0] - ran, 3), "weir_waited_s": round(now[1] - waited, 3)}, ended


def one(weir: Weir, other: int, mode: str, clients: int, deadline: int) -> dict:
    """One attack: good callers alone, beside it on another server, and beside it on Weir."""
    seconds = slow.RAMP_SECONDS + deadline
    calm = good(weir, seconds)
    key = weir.deployment.key
    elsewhere, _ = beside(weir, seconds, lambda: slow.send(other, key, mode, clients, seconds, ASIDE))
    # Not beside good callers: with so many models, to read them takes Weir's only processor a tenth of a second.
    before = slow.counts(weir, mode)
    attacked, sent = beside(weir, seconds, lambda: slow.send(weir.port, key, mode, clients, 6 * deadline + 60, ASIDE))
    ended = slow.ended(weir, mode, before, *sent)
    slower = {name: round(attacked["p99_ms"] / line["p99_ms"], 2) for name, line in (("alone", calm), ("elsewhere", elsewhere))}
    failed = calm["failed"] + attacked["failed"]
    # Where the same attack leaves good callers unserved though Weir has no part in it, it says nothing of Weir.
    lines = [slower["alone"]] + [slower["elsewhere"]] * (elsewhere["failed"] == 0)
    ok = ended.all_closed and not failed and min(lines) <= SLOWER
    return {"ok": ok, "clients": clients, "all_closed": ended.all_closed, "deadlines_counted": ended.counted,
            "seconds": round(ended.seconds, 1), "slower": slower, "calm": calm, "elsewhere": elsewhere, "attacked": attacked}


NGINX = """daemon off; master_process off; worker_rlimit_nofile 20000; pid {home}/pid; error_log {home}/log;
events {{ worker_connections 9000; }}
http {{
  access_log off; client_header_timeout {deadline}s; client_body_timeout {deadline}s; send_timeout {deadline}s;
  client_body_temp_path {home}/body; proxy_temp_path {home}/proxy; fastcgi_temp_path {home}/f; uwsgi_temp_path {home}/u;
  scgi_temp_path {home}/s; default_type application/json;
  server {{ listen 127.0.0.1:{port} backlog=9000; root {home};
    location /v1/ {{ proxy_pass http://127.0.0.1:{upstream}; }} }}
}}
"""


def nginx(home: Path, port: int, upstream: int, deadline: int) -> list[str]:
    """The command of a server that answers as Weir does, with the same deadlines."""
    (home / "api/v1").mkdir(parents=True)
    (home / "api/v1/models").write_text("x" * 1_000_000)
    (home / "conf").write_text(NGINX.format(home=home, port=port, upstream=upstream, deadline=deadline))
    home.chmod(0o755)
    return ["nginx", "-p", str(home), "-c", str(home / "conf"), "-e", str(home / "log")]


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="200 clients, deadlines of 2 s")
    parser.add_argument("--clients", type=int)
    parser.add_argument("--deadline", type=int, help="seconds")
    parser.add_argument("--modes", default=",".join(slow.MODES))
    asked = parser.parse_args(argv)
    clients = asked.clients or (200 if asked.quick else 2_000)
    deadline = asked.deadline or (2 if asked.quick else 10)
    found, held = {}, []
    port, other = free_ports(2, held)
    os.sched_setaffinity(0, THEIRS)
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    pinned = ["taskset", "--cpu-list", ",".join(map(str, OURS))]
    upstream = subprocess.Popen([*pinned, EXAMPLES / "bench-upstream", f"127.0.0.1:{port}"])
    models = [conf.Model("bench/small", ["a"]), *slow.models()]
    provider = conf.Provider("a", f"http://127.0.0.1:{port}/v1")
    deployment = conf.Deployment([provider], models, slow.settings(deadline))
    with tempfile.TemporaryDirectory() as home, tempfile.TemporaryDirectory() as place:
        server = subprocess.Popen([*pinned, *nginx(Path(place), other, port, deadline)])
        weir = Weir(SimpleNamespace(port=port), deployment, Path(home), {"RUST_LOG": "warn"})
        weir.prefix = pinned
        try:
            weir.start()
            offer(weir, CONNECTIONS, 2, RATE, "small")
            for mode in asked.modes.split(","):
                found[mode] = one(weir, other, mode, clients, deadline)
                print(mode, json.dumps(found[mode]), file=sys.stderr, flush=True)
            weir.stop()
        finally:
            if weir.running():
                weir.kill()
            for each in (server, upstream):
                each.terminate()
                each.wait()
    ok = all(each["ok"] for each in found.values())
    # Nothing is drawn by lot.
    print(json.dumps({"script": "slow", "ok": ok, "seed": None, "deadline_s": deadline, "modes": found}))
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
