"""What must never happen, whatever the fault: N1 to N4 of the fault matrix, at the end of every test.

N5 (secrets) is in `Weir.stop`, which reads log and metrics; N6 (another caller's bytes) and N7
(memory) need a test of their own, because they need a second caller or a size.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from weir import Weir

NOT_DISPATCHED = {"refused", "connect_timeout", "tls", "unresolved", "throttled"}


def check(weir: Weir) -> None:
    """N1 and N2: a row, and one row, for every request that reached a provider; N3: nothing still
    waits; N4: no panic."""
    weir.settles(0, "in_flight")
    assert weir.metric("panics_total") == 0, "N4: a panic"
    # After a power cut an attempt may be recovered as cut although a sink has its whole row, which stays.
    assert weir.power_cut or weir.metric("ledger_conflicts_total") == 0, "N2: other rows under the same keys"
    assert weir.metric("ledger_lost_total") == weir.lost, "N1: rows are lost"
    counted = sum(
        value for name, labels, value in weir.metrics()
        if name == "weir_attempts_total" and labels["outcome"] not in NOT_DISPATCHED
    )
    if weir.launches == 1 and not weir.lost and not weir.metric("dead_letters_total"):
        weir.settles(counted, "ledger_rows_total")
    rows = weir.ledger.rows()
    keys = Counter((row["node"], row["epoch"], row["seq"]) for row in rows)
    tries = Counter((row["generation_id"], row["attempt"]) for row in rows)
    twice = [key for key, count in (keys + tries).items() if count > 1]
    assert not twice, f"N2: more than one row for {twice[:5]}"
    have = Counter((row["session"], row["provider"]) for row in rows)
    seen = Counter((line["id"], line["role"]) for line in weir.chaos.truth.lines("request", method="POST"))
    providers = {provider.slug for provider in weir.deployment.providers}
    lost = {
        key: (count, have[key]) for key, count in seen.items()
        if key in weir.asked_for and key[1] in providers and have[key] < count
    }
    assert len(lost) <= weir.lost, f"N1: seen by a provider and not in the ledger: {lost}"
