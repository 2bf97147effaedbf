"""The measurement run as a stranger sees it: a killed run, the same bytes, and a check of the tape that uses nothing of the package."""
import contextlib
import hashlib
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest


def measure(root, out, *more):
    "The command in a process of its own."
    return [sys.executable, "-c", "import sys; from liquidity_game.app.cli import main; sys.exit(main(sys.argv[1:]))", "measure", "--params", str(root/"params.yaml"), "--seed", "0", "--out", str(out), "--json", *map(str, more)]


def status_of(folder): return json.loads((folder/"status.json").read_text())


@pytest.fixture(scope="module")
def tape(root, tmp_path_factory):
    "A run of two hundred timesteps in small parts, and what it said."
    out = tmp_path_factory.mktemp("measure")/"run"
    done = subprocess.run(measure(root, out, "--steps", 200, "--set", "population.rows_per_part=2000", "--set", "market_report.feedback_block=2", "--set", "market_report.resamples=50"), capture_output=True, text=True, cwd=root)
    assert done.returncode == 0, done.stderr
    return out, json.loads(done.stdout.splitlines()[-1])


def test_says_what_the_design_fixes(tape):
    out, said = tape
    assert {"steps", "events", "trades", "cpu_s", "unattributed_mid_moves", "crossed_books", "bound_violations", "thinnings"} <= said.keys()
    assert said["steps"] == 200 and said["unattributed_mid_moves"] == said["crossed_books"] == said["bound_violations"] == 0
    assert status_of(out)["complete"] and status_of(out)["parts"] > 2
    assert (out/"report.pdf").read_bytes()[:5] == b"%PDF-" and (out/"figures"/"heatmap.svg").exists()


def test_fallback_says_so(tape):
    "No policy is trained in the folder of a test's parameters unless the pipeline has run; either way the tape says who sat there."
    out, said = tape
    assert said["policies"]["ppo"] == json.loads((out/"schema.json").read_text())["policies"]["ppo"]["is"] != ""


def stranger(folder: Path) -> dict[str, list[int]]:
    "A check written from schema.json alone: pandas, dictionaries. For each thing, how many there are and how many agree."
    schema, parts = json.loads((folder/"schema.json").read_text()), status_of(folder)["parts"]
    table = lambda name: pd.concat([pd.read_parquet(folder/name/f"part-{i:05d}.parquet") for i in range(parts)], ignore_index=True)
    for name, about in schema["tables"].items(): assert list(pd.read_parquet(folder/name/"part-00000.parquet")) == list(about["columns"])
    kinds, reasons = ({v: int(k) for k, v in schema[key].items()} for key in ("kinds", "reasons"))
    orders, inventory, cash = {}, {}, {}
    trades = {seq: rows.to_dict("records") for seq, rows in table("trades").groupby("seq")}
    depth = {key: rows[["price_ticks", "lots", "orders"]].values.tolist() for key, rows in table("depth").groupby(["step", "side"])}
    holdings = {step: rows.set_index("agent") for step, rows in table("holdings").groupby("step")}
    events, found = table("events").to_dict("records"), {"snapshots": [0, 0], "inventories": [0, 0], "cash": [0, 0]}

    def compare(step):
        for side in (1, -1):
            levels = {}
            for s, price, lots in orders.values():
                if s == side: levels[price] = [price, levels.get(price, [0, 0, 0])[1] + lots, levels.get(price, [0, 0, 0])[2] + 1]
            best = [levels[price] for price in sorted(levels, reverse=side > 0)[:schema["levels"]]]
            found["snapshots"][0] += 1
            found["snapshots"][1] += best == depth.get((step, side), [])
        for agent, row in holdings[step].iterrows():
            for name, column, mine in (("inventories", "inventory_lots", inventory), ("cash", "cash_fine", cash)):
                found[name][0] += 1
                found[name][1] += int(row[column]) == mine.get(agent, 0)

    at = 0
    for step in sorted(holdings):
        while at < len(events) and events[at]["step"] <= step:
            e, at = events[at], at + 1
            if e["reason"] not in (0, reasons["SELF_TRADE"]): continue
            for t in trades.get(e["seq"], []):
                orders[t["maker_order_id"]][2] -= t["qty_lots"]
                if not orders[t["maker_order_id"]][2]: del orders[t["maker_order_id"]]
                maker, taker = (t["seller"], t["buyer"]) if t["taker_side"] > 0 else (t["buyer"], t["seller"])
                money = t["price_ticks"]*t["qty_lots"]*schema["fine_per_tick_lot"]
                for agent, lots, gained in ((t["buyer"], t["qty_lots"], -money), (t["seller"], -t["qty_lots"], money), (maker, 0, t["maker_rebate_fine"]), (taker, 0, -t["taker_fee_fine"])):
                    inventory[agent], cash[agent] = inventory.get(agent, 0) + lots, cash.get(agent, 0) + gained
            if e["kind"] == kinds["CANCEL"]: del orders[e["order_id"]]
            elif e["rested_lots"]: orders[e["order_id"]] = [e["side"], e["price_ticks"], e["rested_lots"]]
        compare(step)
    return found


def test_a_stranger_rebuilds_the_tape(tape):
    out, said = tape
    for name, (there, equal) in stranger(out).items(): assert there == equal > 200, name
    done = subprocess.run([sys.executable, "-c", "import sys; from liquidity_game.app.cli import main; sys.exit(main(sys.argv[1:]))", "rebuild", "--tape", str(out), "--json"], capture_output=True, text=True)
    counts = json.loads(done.stdout.splitlines()[-1])
    assert done.returncode == 0 and counts["snapshots"] == 201
    for name in ("l1", "snapshots", "mids", "inventories", "cash", "volumes", "fills"): assert counts[name] == counts[f"{name}_equal"]


def test_same_seed_same_bytes(tape, root, tmp_path):
    out, _ = tape
    subprocess.run(measure(root, tmp_path/"again", "--steps", 200, "--no-report", "--set", "population.rows_per_part=2000"), check=True, capture_output=True, cwd=root)
    files = [path for table in json.loads((out/"schema.json").read_text())["tables"] for path in sorted((out/table).iterdir())] + [out/"schema.json", out/"status.json"]
    assert len(files) > 20
    for path in files: assert hashlib.sha256(path.read_bytes()).digest() == hashlib.sha256((tmp_path/"again"/path.relative_to(out)).read_bytes()).digest(), path


@contextlib.contextmanager
def writing(root, out, parts):
    "A long run that has written so many parts; killed when the block is left."
    process = subprocess.Popen(measure(root, out, "--steps", 2_000_000, "--no-report", "--set", "population.rows_per_part=4000"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=root)
    try:
        deadline = time.monotonic() + 240
        while not ((out/"status.json").exists() and status_of(out)["parts"] >= parts):
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.02)
        yield process
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def test_killed_half_way(root, tmp_path):
    "SIGKILL in the middle: what was written is readable, says that it is incomplete, and is rebuilt as far as it goes."
    out = tmp_path/"killed"
    with writing(root, out, 3): pass
    status = status_of(out)
    assert not status["complete"] and status["parts"] >= 3 and 0 < status["steps"] < 2_000_000

    from liquidity_game.sim.rebuild import rebuild
    from liquidity_game.sim.tape import read_table
    (out/"depth"/f"part-{status['parts']:05d}.parquet").touch()  # whatever the killed run had begun is no part of the tape
    assert len(read_table(out, "events")) == status["events"] and len(read_table(out, "trades")) == status["trades"]
    counts = rebuild(out)
    assert counts["snapshots"] == status["steps"] + 1
    for name in ("l1", "snapshots", "mids", "inventories", "cash", "volumes", "fills"): assert counts[name] == counts[f"{name}_equal"]


def test_one_run_to_a_folder(root, tmp_path):
    "While a run writes, another is refused in one sentence and touches nothing; after it was killed, its folder is free again."
    out = tmp_path/"run"
    with writing(root, out, 1) as first:
        second = subprocess.run(measure(root, out, "--steps", 5, "--no-report"), capture_output=True, text=True, cwd=root)
        assert second.returncode == 2 and second.stderr.count("\n") == 1 and "another run is writing there" in second.stderr
        assert json.loads((out/"schema.json").read_text())["planned_steps"] == 2_000_000 and first.poll() is None
    third = subprocess.run(measure(root, out, "--steps", 5, "--no-report"), capture_output=True, text=True, cwd=root)
    assert third.returncode == 0, third.stderr
    assert status_of(out)["complete"] and sorted(path.name for path in (out/"events").iterdir()) == ["part-00000.parquet"] and not (out/".lock").exists()


class Wild:
    "Acts at random."
    def act(self, obs, rng): return rng.uniform(-1, 1, (1, 3)).astype("float32")


@pytest.mark.parametrize("trial", range(8))
def test_any_population_keeps_the_rules(trial, root, tmp_path):
    "Groups, limits, latencies, tariffs and rules at random: the tape is rebuilt, every price move has a cause, no limit is broken, and the reference book makes the same trades."
    import numpy as np
    from liquidity_game.book.reference import ReferenceBook, apply
    from liquidity_game.config import load_params, override, section
    from liquidity_game.sim.checks import ChecksConfig, check_tape
    from liquidity_game.sim.population import population_config
    from liquidity_game.sim.rebuild import rebuild
    from liquidity_game.sim.seats import seat_config
    from liquidity_game.sim.tape import read_table, record
    params, rng = load_params(root/"params.yaml"), np.random.default_rng(trial)
    groups, between, count = params["population"], lambda low, high: float(rng.uniform(low, high)), lambda low, high: int(rng.integers(low, high))
    late = lambda: [0, between(0, 300_000)]
    chosen = {
        "noise": [groups["noise"][0] | {"name": f"noise {i}", "count": count(1, 30), "inventory_limit_lots": count(1, 40), "orders": count(1, 8), "flow_scale": between(.2, 3), "credit": between(1e4, 2e6), "latency_us": late()} for i in range(count(1, 3))],
        "makers": [groups["makers"][0] | {"name": f"maker {i}", "count": count(0, 10), "layers": count(1, 8), "lots": count(1, 20), "inventory_limit_lots": count(1, 60), "half_spread_ticks": between(0, 6), "skew_ticks": between(0, 2),
                    "refill": between(0, 1), "wake_steps": between(.2, 4), "latency_us": late()} for i in range(count(0, 3))],
        "momentum": [groups["momentum"][0] | {"count": count(0, 8), "threshold_ticks": between(.5, 6), "lots": count(1, 30)}],
        "learned": [groups["learned"][0] | {"count": count(0, 3), "latency_us": late(), "wake_steps": between(.3, 3)}, groups["learned"][0] | {"name": "taker", "role": "taker", "configuration": "multi_agent_basic"}]}
    changes = groups["changes"] | {"market.rule": ("fifo", "pro_rata")[trial % 2], "flow.initial_orders": count(0, 60), "flow.market_rate": between(.2, 4), "market.maker_rebate": (-1e-5, 0.0, 3e-6)[trial % 3]}
    params = override(params, {f"population.{kind}": value for kind, value in chosen.items()} | {"population.changes": changes, "population.rows_per_part": count(64, 3000), "population.levels": count(1, 15)})
    cfg, world = population_config(params)
    record(cfg, world, {g.name: Wild() for g in cfg.learned}, {g.name: seat_config(params, g) for g in cfg.learned}, trial, count(20, 200), tmp_path)
    counts, (findings, _) = rebuild(tmp_path), check_tape(tmp_path, section(ChecksConfig, params, "tape_checks"))
    for name in ("l1", "snapshots", "mids", "inventories", "cash", "volumes", "fills"): assert counts[name] == counts[f"{name}_equal"] > 0
    assert findings["unattributed_mid_moves"] == findings["crossed_books"] == findings["bound_violations"] == 0
    events, trades = read_table(tmp_path, "events"), read_table(tmp_path, "trades")
    accepted = events.loc[events["reason"].isin([0, 8]), ["kind", "side", "price_ticks", "qty_lots", "order_id", "agent"]]
    made, _ = apply(ReferenceBook(world.market.rule), accepted.to_numpy(np.int64))
    assert made[:, :4].tolist() == trades[["maker_order_id", "taker_order_id", "price_ticks", "qty_lots"]].to_numpy(np.int64).tolist()


def test_weights_are_not_touched(root, tmp_path):
    "A network acts for a while; its file and its hash are what they were."
    import numpy as np
    from liquidity_game.agents.policy import ActorCritic, PolicySpec
    from liquidity_game.config import load_params
    from liquidity_game.market.senses import ObservationLayout
    from liquidity_game.sim.population import population_config
    from liquidity_game.sim.seats import seat_config
    from liquidity_game.sim.tape import record
    features, params = ObservationLayout(1, 0).n_features, load_params(root/"params.yaml")
    policy = ActorCritic(PolicySpec(features, 3, "squashed", (8, 8), features, 10.0)).start(np.random.default_rng(0), 0.5).frozen()
    policy.save(tmp_path/"before")
    cfg, world = population_config(params)
    facts = record(cfg, world, {g.name: policy for g in cfg.learned}, {g.name: seat_config(params, g) for g in cfg.learned}, 0, 50, tmp_path/"tape")
    policy.save(tmp_path/"after")
    assert facts["decisions"] > 40
    for name in ("weights.safetensors", "policy.json"): assert (tmp_path/"before"/name).read_bytes() == (tmp_path/"after"/name).read_bytes()
