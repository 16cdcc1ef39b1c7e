"""What is read of the catalogue, over the wire (contract 1.4, 1.5, 1.9), and the shipped catalogue itself."""

import hashlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tomllib
from datetime import date
from decimal import Decimal
from pathlib import Path
from xml.etree import ElementTree

import conf
import pytest
from weir import binary

ROOT = Path(__file__).parents[2]
PUBLIC = "public, max-age=120, stale-while-revalidate=3600, stale-if-error=3600"
READS = ["/api/v1/models", "/api/v1/models/count", "/api/v1/embeddings/models", "/api/v1/providers",
         "/api/v1/endpoints/zdr", "/api/v1/model/test/m", "/api/v1/models/test/m/endpoints", "/v1/models"]


def get(weir, path: str, *headers):
    with weir.connect() as raw:
        return raw.ask("GET", path, list(headers))


def data(weir, path: str, *headers):
    reply = get(weir, path, *headers)
    assert reply.status == 200, (path, reply.body)
    return reply.json()["data"]


def ids(weir, path: str, *headers) -> list[str]:
    return [row["id"] for row in data(weir, path, *headers)]


@pytest.mark.parametrize("path", READS)
def test_reading_needs_no_key_and_may_be_kept(shared, path):
    reply = get(shared, path)
    assert (reply.status, reply.headers["cache-control"]) == (200, PUBLIC), reply.body
    wrong = get(shared, path, ("authorization", "Bearer sk-or-v1-wrong"))
    assert (wrong.status, wrong.body) == (200, reply.body), "a wrong key sees what no key sees"


def test_what_the_caller_may_use_needs_a_key(shared):
    assert get(shared, "/api/v1/models/user").status == 401
    reply = get(shared, "/api/v1/models/user", shared.bearer)
    assert (reply.status, reply.headers["cache-control"]) == (200, "private, max-age=120")
    assert [row["id"] for row in reply.json()["data"]] == ["test/m", "test/n"]


def test_queries_choose_order_and_page(shared):
    assert ids(shared, "/api/v1/models?sort=pricing-high-to-low") == ["test/m", "test/n"]
    assert ids(shared, "/api/v1/models?providers=c") == ["test/n"]
    assert ids(shared, "/api/v1/models?q=TEST%2Fn") == ["test/n"]
    page = get(shared, "/api/v1/models?limit=1&q=test").json()
    assert (page["data"][0]["id"], page["total_count"]) == ("test/m", 2)
    rest = get(shared, page["links"]["next"]).json()
    assert ([row["id"] for row in rest["data"]], rest["links"]["next"]) == (["test/n"], None)
    assert data(shared, "/api/v1/models/count?output_modalities=embeddings") == {"count": 0}
    refused = get(shared, "/api/v1/models?limit=many")
    assert refused.status == 400 and "limit" in refused.json()["error"]["message"]


def test_endpoints_tell_what_traffic_has_shown_to_those_with_a_key(shared):
    for _ in range(12):
        shared.ask()
    path = "/api/v1/models/test/m/endpoints"
    shown = {row["tag"]: row for row in data(shared, path, shared.bearer)["endpoints"]}
    assert set(shown) == {"a", "b"} and {row["provider_name"] for row in shown.values()} == {"A", "B"}
    assert shown["a"]["latency_last_30m"]["p50"] > 0 and shown["a"]["throughput_last_30m"]["p50"] > 0
    assert shown["a"]["perf_last_30m_by_workload"]["text_generation"]["request_count"] > 0
    open_to_all = data(shared, path)["endpoints"]
    assert all(row["latency_last_30m"] is None for row in open_to_all)
    assert ids(shared, "/api/v1/models?sort=most-popular")[0] == "test/m"
    assert get(shared, "/api/v1/models/test/none/endpoints").status == 404
    assert get(shared, "/api/v1/models/test%2Fm/endpoints").status == 404, "a path is taken as it stands"


def test_prices_say_when_others_hold(run):
    long = {"min_prompt_tokens": 200_001, "input": "2", "cache_read": "0.2"}
    night = {"utc_start": "16:30", "utc_end": "00:30", "output": "1"}
    price = {"input": "1", "output": "2", "cache_read": "0.1", "overrides": [long, night]}
    weir = run("a", a={"endpoint": {"price": price}})
    [row] = data(weir, "/api/v1/models")
    [endpoint] = data(weir, "/api/v1/models/test/m/endpoints")["endpoints"]
    for pricing in (row["pricing"], endpoint["pricing"]):
        assert (pricing["prompt"], pricing["discount"]) == ("0.000001", 0)
        assert pricing["overrides"] == [
            {"min_prompt_tokens": 200_000, "prompt": "0.000002", "input_cache_read": "0.0000002"},
            {"utc_start": 1630, "utc_end": 30, "completion": "0.000001"},
        ]


def test_models_as_a_feed(shared):
    reply = get(shared, "/api/v1/models?use_rss=true&sort=pricing-high-to-low")
    assert (reply.status, reply.headers["content-type"]) == (200, "application/rss+xml; charset=utf-8")
    channel = ElementTree.fromstring(reply.body).find("channel")
    assert [item.findtext("guid") for item in channel.findall("item")] == ["test/m", "test/n"]
    assert reply.headers["cache-control"] == PUBLIC


def test_a_key_sees_the_models_and_prices_it_may_use(run):
    weir = run({"test/m": "ab", "test/n": "c"}, settings={"policy": {"ignore": ["a"]}})
    narrow = f"sk-or-v1-{secrets.token_hex(32)}"
    digest = hashlib.sha256(narrow.encode()).hexdigest()
    with (weir.conf / "keys.toml").open("a") as keys:
        keys.write(f'\n[[key]]\nname = "narrow"\nhash = "{digest}"\nmodels = ["test/m"]\n')
    weir.process.send_signal(signal.SIGHUP)
    weir.settles(1, "reload_total", result="applied")
    bearer = ("authorization", f"Bearer {narrow}")
    [row] = data(weir, "/api/v1/models/user", bearer)
    assert row["id"] == "test/m" and row["pricing"]["prompt"] == f"{conf.PRICES[1][0] / 1e6:f}".rstrip("0")
    assert ids(weir, "/v1/models", bearer) == ["test/m"], "OpenAI's list is what the key may use"
    assert ids(weir, "/api/v1/models", bearer) == ["test/m", "test/n"], "OpenRouter's is for everyone"


RULES = """
[[rule]]
name = "no-n"
when = { model = "test/n", key = "tester" }
reject = { status = 403, message = "no" }

[[rule]]
name = "not-a"
when = { workspace = "default" }
constrain = { ignore = ["a"] }

[[rule]]
name = "not-b-in-streams"
when = { stream = true }
constrain = { ignore = ["b"] }
"""


def test_rules_count_in_what_a_key_may_use_as_far_as_no_request_is_needed(run, tmp_path):
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "10.toml").write_text(RULES)
    weir = run({"test/m": "ab", "test/n": "c"}, settings={"rules": str(tmp_path / "rules")})
    [row] = data(weir, "/api/v1/models/user", weir.bearer)
    assert row["id"] == "test/m" and row["pricing"]["prompt"] == f"{conf.PRICES[1][0] / 1e6:f}".rstrip("0")
    assert ids(weir, "/v1/models", weir.bearer) == ["test/m"]
    assert ids(weir, "/api/v1/models") == ["test/m", "test/n"]


def test_ceilings_count_by_the_price_of_today_in_what_a_key_may_use(run):
    price = [{"input": "9", "output": "9"}, {"from": date(2020, 1, 1), "input": "1", "output": "2"}]
    weir = run("a", settings={"policy": {"max_price": {"prompt": "5"}}}, a={"endpoint": {"price": price}})
    assert ids(weir, "/api/v1/models/user", weir.bearer) == ["test/m"]


def test_the_shipped_catalogue_is_what_its_generator_writes(tmp_path):
    """With the packages that tests/requirements.txt pins as the generator does."""
    wanted = (ROOT / "conf/catalog/generate/requirements.txt").read_text().splitlines()
    pinned = (ROOT / "tests/requirements.txt").read_text().splitlines()
    assert {line for line in wanted if line and not line.startswith("#")} <= set(pinned)
    command = [sys.executable, "-B", str(ROOT / "conf/catalog/generate"), "--check"]
    ran = subprocess.run(command, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_the_shipped_catalogue_says_who_bills_a_stream_that_is_left():
    """OpenRouter's list (contract 4.6): whoever is not on it bills to the end."""
    shipped = tomllib.loads((ROOT / "conf/catalog/providers.toml").read_text())["provider"]
    left = {provider["slug"]: provider["disconnect"] for provider in shipped}
    stops = {slug for slug, disconnect in left.items() if disconnect == "cancel-streams"}
    assert stops == {"openai", "anthropic", "xai", "deepseek", "cohere", "deepinfra", "together", "fireworks",
                     "novita", "chutes", "friendli", "avian"}
    assert {left[slug] for slug in left.keys() - stops} == {"drain"}


def test_catalog_diff_says_what_another_catalogue_changes(tmp_path):
    shutil.copytree(ROOT / "conf/catalog", tmp_path / "new")
    models = tmp_path / "new/models.toml"
    before = '{ provider = "groq", model = "llama-3.1-8b-instant"'
    text = models.read_text()
    assert text.count(before) == 1
    line = next(line for line in text.splitlines() if before in line)
    models.write_text(text.replace(line, line.replace('input = "0.05"', 'input = "0.04"')))
    command = [binary(), "catalog", "diff", tmp_path / "new", "--against", ROOT / "conf/catalog"]
    ran = subprocess.run(command, capture_output=True, text=True, env=os.environ)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines() == [
        "repriced endpoint meta-llama/llama-3.1-8b-instruct@groq: input 0.05 -> 0.04",
        "endpoints: 0 added, 0 removed, 1 repriced, 0 changed",
    ]


def test_prices_that_cannot_be_kept_are_rounded_and_listed(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "conf/catalog/generate")
    import prices

    price = prices.listed({"input": Decimal("1.0399999999999998"), "output": Decimal("2.50"), "cache_read": 0})
    assert price.tables == [{"input": "1.04", "output": "2.5"}]
    assert price.rounded == [("input", Decimal("1.0399999999999998"), "1.04")]
    longer = prices.listed({"input": 1, "output": 2, "tiers": [
        {"input": 2, "output": 2, "tier": {"size": 200_000, "type": "context"}}]})
    assert longer.tables == [{"input": "1", "output": "2",
                              "overrides": [{"min_prompt_tokens": 200_001, "input": "2"}]}]
