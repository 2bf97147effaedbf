"""`liquidity-game cards ...` and `bench cards`, as a shell sees them: names, numbers computed in another way, and one sentence for bad input."""
import contextlib
import io
import itertools
import json
import math
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

COMMAND = str(Path(sys.executable).with_name("liquidity-game"))
ROOT = Path(__file__).resolve().parent.parent
FEW = ("--set", "solve_cards.episodes=2000", "--set", "solve_cards.bankroll.noise_cells=2", "--set", "solve_cards.bankroll.knots=20")


def call(*arguments):
    "The command in this process; an error that it lets through fails the test."
    from liquidity_game.app.cli import main
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err): code = main([*map(str, arguments), "--params", str(ROOT/"params.yaml")])
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


def answer(*arguments):
    done = call(*arguments, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout.splitlines()[-1])


def refused(*arguments):
    done = call(*arguments)
    assert done.returncode == 2 and done.stdout == "" and done.stderr.count("\n") == 1 and done.stderr.startswith("liquidity-game"), done.stderr
    return done.stderr


# ---- posterior: every hand by hand

KEPT = dict(none=lambda w: True, remap_value=lambda w: True, ge10_only=lambda w: w >= 10, le7_only=lambda w: w <= 7, even_only=lambda w: w % 2 == 0, odd_only=lambda w: w % 2 == 1)


def enumerated(event, hints, remap=None, suits=4):
    "The law of the sum from all hands that hold the hints, each as often as the hints can be these cards of it."
    worth = {rank: rank for rank in range(2, 15)} | ({remap[0]: remap[1]} if remap else {})
    cards, law, wanted = [rank for rank in worth for _ in range(suits) if KEPT[event](worth[rank])], Counter(), Counter(hints)
    for hand in itertools.combinations(cards, 3):
        ways = math.prod(math.comb(Counter(hand)[rank], n) for rank, n in wanted.items())
        if ways: law[sum(worth[rank] for rank in hand)] += ways
    total = sum(law.values())
    return {str(s): n/total for s, n in sorted(law.items())}


@pytest.mark.parametrize("event, hints, remap", [("none", "", None), ("none", "14,6", None), ("even_only", "14, 6", None), ("ge10_only", "10,10,14", None), ("le7_only", "2", None), ("odd_only", "13,13", None),
                                                 ("remap_value", "5", "5:12"), ("remap_value", "9,9", "9:2"), ("remap_value", "3", "14:2"), ("remap_value", "2,14", "2:14")])
def test_posterior_is_that_of_all_hands(event, hints, remap):
    found = answer("cards", "posterior", "--event", event, *(["--hints", hints] if hints else []), *(["--remap", remap] if remap else []))
    law = enumerated(event, [int(h) for h in hints.split(",") if h], tuple(map(int, remap.split(":"))) if remap else None)
    mean = sum(int(s)*p for s, p in law.items())
    assert list(found) == ["mean", "sd", "pmf"] and found["pmf"] == pytest.approx(law, abs=1e-12) and list(found["pmf"]) == list(law)
    assert (found["mean"], found["sd"]) == pytest.approx((mean, math.sqrt(sum((int(s) - mean)**2*p for s, p in law.items()))), abs=1e-6)


def test_posterior_for_a_person():
    done = call("cards", "posterior", "--event", "none", "--hints", "7", "--set", "cards.deck.suits=2")
    assert done.returncode == 0 and done.stdout.startswith("mean  ") and max(map(len, done.stdout.splitlines())) <= 80
    law = enumerated("none", [7], suits=2)
    rows = [line.split() for line in done.stdout.splitlines()[4:]]
    assert [row[0] for row in rows] == list(law) and all(abs(float(row[1]) - p) < 1e-6 for row, p in zip(rows, law.values()))


# ---- solve

def optimum_without_impact(sigma_q=0.5, beta=0.25):
    "Ten units where the mid is off by more than half the spread, over all rounds without events: a closed form, from the sd of each set of hints by enumeration."
    worth, per_round = [rank for rank in range(2, 15) for _ in range(4)], 0.0
    for k in range(4):
        for shown in itertools.combinations_with_replacement(range(2, 15), k):
            ways, rest = math.prod(math.comb(4, n) for n in Counter(shown).values()), worth.copy()
            for rank in shown: rest.remove(rank)
            variance = (3 - k)*np.var(rest)*(len(rest) - 3 + k)/(len(rest) - 1)
            half = min(max(0.8 + beta*math.sqrt(variance), 1.0), 3.0)/2
            gain = 2*(sigma_q*math.exp(-(half/sigma_q)**2/2)/math.sqrt(2*math.pi) - half*math.erfc(half/sigma_q/math.sqrt(2))/2)
            per_round += 0.25*ways/math.comb(52, k)*10*gain
    return 10*per_round


def test_solve():
    found = answer("cards", "solve", *FEW)
    assert {"optimum_per_episode", "se", "bankroll_optimum_per_episode", "trade_share", "baselines"} <= set(found)
    assert found["optimum_per_episode"] == pytest.approx(2.9723, abs=1e-3) and 0 <= found["se"] < 1e-3 and found["trade_share"] == pytest.approx(0.13505, abs=1e-4)
    assert set(found["baselines"]) == {"random_valid", "ev_oracle", "ev_oracle_kelly", "ev_oracle_fixed", "level1"} and max(found["baselines"].values()) <= found["optimum_per_episode"]
    text = call("cards", "solve", *FEW, "--set", "cards.depth.cap=5").stdout
    assert "optimum" in text and "level1" in text and max(map(len, text.splitlines())) <= 100


@pytest.mark.parametrize("settings", [{}, dict(sigma_q=1.0), dict(beta=0.5), dict(sigma_q=0.3, beta=0.1)])
def test_solve_on_other_settings(settings):
    changes = ["cards.events.enabled=false", "cards.impact.enabled=false", *(f"cards.quotes.{key}={value}" for key, value in settings.items())]
    found = answer("cards", "solve", *FEW, *(part for change in changes for part in ("--set", change)))
    assert found["optimum_per_episode"] == pytest.approx(optimum_without_impact(**settings), abs=1e-6)


# ---- evaluate

METRICS = {"episodes", "mean_pnl", "variance", "sharpe", "sortino", "max_drawdown", "ruin", "valid_order_rate", "rejection_rate", "fill_ratio", "mean_slippage", "impact_per_unit", "percent_of_optimum", "low", "high", "optimum_per_episode"}


def test_evaluate():
    found = answer("cards", "evaluate", "--policy", "level1", "--episodes", "3000", "--events", "on", "--impact", "on")
    assert METRICS <= set(found) and found["episodes"] == 3000 and found["low"] < found["percent_of_optimum"] < found["high"] and found["percent_of_optimum"] == pytest.approx(99.8, abs=1)
    assert answer("cards", "evaluate", "--policy", "level1", "--episodes", "3000", "--events", "on", "--impact", "on") == found
    assert answer("cards", "evaluate", "--policy", "level1", "--episodes", "3000", "--seed", "8") != found
    best = answer("cards", "evaluate", "--policy", "optimum", "--episodes", "1000", "--events", "off", "--impact", "off")
    assert best["percent_of_optimum"] == 100 and best["optimum_per_episode"] == pytest.approx(optimum_without_impact(), abs=1e-6)
    switched = answer("cards", "evaluate", "--policy", "ev_oracle", "--episodes", "1000", "--set", "cards.events.enabled=false", "--set", "cards.impact.enabled=false")
    assert switched == answer("cards", "evaluate", "--policy", "ev_oracle", "--episodes", "1000", "--events", "off", "--impact", "off")


def test_evaluate_against_an_opponent_and_without_masks():
    crowd = answer("cards", "evaluate", "--policy", "ev_oracle", "--opponent", "ev_oracle", "--episodes", "1000")
    assert METRICS <= set(crowd) and crowd["percent_of_optimum"] is crowd["optimum_per_episode"] is None
    unmasked = answer("cards", "evaluate", "--policy", "random_valid", "--episodes", "300", "--masks", "off", "--set", "cards.budget.initial=100")
    assert unmasked["rejection_rate"] > 0.2 and unmasked["valid_order_rate"] == pytest.approx(1 - unmasked["rejection_rate"])


# ---- rollouts

def test_rollouts(tmp_path):
    from liquidity_game.cards.rollouts import COLUMNS
    arguments = ("cards", "rollouts", "--policy", "ev_oracle", "--opponent", "random_valid", "--episodes", "50", "--seed", "3")
    assert answer(*arguments, "--out", tmp_path/"a.parquet") == dict(rows=1000, episodes=50, file=str(tmp_path/"a.parquet"))
    answer(*arguments, "--out", tmp_path/"b.parquet")
    assert (tmp_path/"a.parquet").read_bytes() == (tmp_path/"b.parquet").read_bytes() and len(list(tmp_path.iterdir())) == 2
    table = pd.read_parquet(tmp_path/"a.parquet")
    assert list(table) == list(COLUMNS) and len(table) == 1000 and not table.duplicated(["episode", "round", "player"]).any()
    assert (table.groupby(["episode", "player"])["round"].apply(list).map(len) == 10).all() and table.groupby("episode").terminated.sum().eq(2).all()
    traded = table[table.units != 0]
    assert np.allclose(traded.pnl, traded.units*(traded.S - traded.exec_price)) and table.exec_price[table.units == 0].isna().all()
    assert np.allclose(table.wealth.to_numpy()[:-2][table["round"].to_numpy()[2:] > 0], table.wealth_before.to_numpy()[2:][table["round"].to_numpy()[2:] > 0])
    again = table.groupby(["episode", "round"], sort=False)[["S", "bid", "ask", "true_ask_depth"]].nunique()
    assert (again == 1).all().all()


# ---- bench

@pytest.mark.parametrize("players", [1, 2])
def test_bench(players):
    found = answer("bench", "cards", "--batch", "64", "--players", players)
    assert found["agent_steps_per_s"] > 10_000


# ---- bad input

WIDE = ("cards.quotes.sigma_q", "cards.quotes.beta", "cards.depth.tau", "cards.impact.alpha", "cards.rounds")


@pytest.mark.parametrize("arguments, told", [
    (["posterior"], "--event"), (["posterior", "--event", "evens"], "even_only"), (["posterior", "--event", "none", "--hints", "15"], "2 .. 14"), (["posterior", "--event", "none", "--hints", "1"], "2 .. 14"),
    (["posterior", "--event", "even_only", "--hints", "7"], "cannot be"), (["posterior", "--event", "none", "--hints", "6,6,6,6"], "at most 3"), (["posterior", "--event", "none", "--hints", "ace"], "ranks"),
    (["posterior", "--event", "none", "--hints", "6,,7"], "ranks"), (["posterior", "--event", "none", "--hints", "9"*5000], "ranks"), (["posterior", "--event", "none", "--hints", "6,6", "--set", "cards.deck.suits=1"], "cannot be"),
    (["posterior", "--event", "remap_value"], "remap"), (["posterior", "--event", "remap_value", "--remap", "5"], "RANK:WORTH"), (["posterior", "--event", "remap_value", "--remap", "5:5"], "different"),
    (["posterior", "--event", "remap_value", "--remap", "5:15"], "2 .. 14"), (["posterior", "--event", "none", "--remap", "5:12"], "remap"),
    (["solve", "--set", "cards.impact.alpha=-0.1"], "alpha is -0.1"), (["solve", "--set", "cards.quotes.s_min=4"], "above s_max"), (["solve", "--set", "cards.deck.ranks=[2, 4, 6]"], "ge10_only"),
    (["solve", "--set", "cards.deck.ranks=[2, 10, 11, 12, 13]", "--set", "cards.deck.suits=1"], "a round needs 3"), (["solve", "--set", "cards.events.frequencies={none: 0.5}"], "sum to 1"),
    *((["solve", "--set", f"{key}={value}"], "expected") for key in WIDE for value in (".nan", ".inf", "wide", "[1]", "null", "yes")), (["solve", "--set", "cards.depth.cup=3"], "'cap'"), (["solve", "--set", "card.depth.cap=3"], "did you mean 'cards'"),
    (["solve", "--set", "cards.depth.cap"], "sets nothing"), (["solve", "--set", "solve_cards.episodes=100000000000"], "episodes is 100"), (["solve", "--set", "cards.rounds=0"], "rounds is 0"),
    (["evaluate", "--policy", "level1"], "--episodes"), (["evaluate", "--episodes", "10"], "--policy"), (["evaluate", "--policy", "nobody", "--episodes", "10"], "random_valid"), (["evaluate", "--policy", "equilibrium", "--episodes", "10"], "random_valid"),
    (["evaluate", "--policy", "level1", "--opponent", "nobody", "--episodes", "10"], "opponent is 'nobody'"), (["evaluate", "--policy", "level1", "--episodes", str(10**12)], "GiB hold"), (["evaluate", "--policy", "level1", "--episodes", "1e3"], "whole number"),
    (["evaluate", "--policy", "level1", "--episodes", "nan"], "whole number"), (["evaluate", "--policy", "level1", "--episodes", "1"], "episodes is 1"), (["evaluate", "--policy", "level1", "--episodes", "0"], "whole number"),
    (["evaluate", "--policy", "level1", "--episodes", "10", "--events", "yes"], "invalid choice"), (["evaluate", "--policy", "level1", "--episodes", "10", "--seed", "-1"], "no seed"),
    (["rollouts", "--policy", "level1", "--episodes", "10"], "--out"), (["rollouts", "--policy", "nobody", "--episodes", "10", "--out", "OUT/a.parquet"], "random_valid"), (["rollouts", "--policy", "level1", "--episodes", str(10**12), "--out", "OUT/a.parquet"], "GB are free"),
    (["rollouts", "--policy", "level1", "--episodes", "10", "--out", "OUT"], "is a folder"), (["rollouts", "--policy", "level1", "--episodes", "10", "--out", "OUT/no/a.parquet"], "no folder"),
    (["rollouts", "--policy", "level1", "--episodes", "10", "--out", "OUT/" + "x"*300], "too long"), (["rollouts", "--policy", "level1", "--episodes", "10", "--out", "/dev/null"], "no plain file"), (["rollouts", "--policy", "level1", "--episodes", "10", "--out", "/proc/a.parquet"], "/proc/a.parquet"),
    (["bench", "--batch", "0"], "whole number"), (["bench", "--batch", str(10**12)], "GiB hold"), (["bench", "--players", "3"], "invalid choice")])
def test_bad_input_is_one_sentence_and_2(arguments, told, tmp_path):
    done = refused(*(["bench", "cards"] if arguments[0] == "bench" else ["cards", arguments[0]]), *(a.replace("OUT", str(tmp_path), 1) if a.startswith("OUT") else a for a in arguments[1:]))
    assert told in done and not list(tmp_path.iterdir())


def test_the_installed_command(tmp_path):
    done = subprocess.run([COMMAND, "cards", "posterior", "--event", "none", "--hints", "14,14", "--json", "--params", str(ROOT/"params.yaml")], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0 and done.stderr == "" and json.loads(done.stdout)["pmf"] == pytest.approx(enumerated("none", [14, 14]))
    done = subprocess.run([COMMAND, "cards", "solve", "--set", "cards.impact.alpha=-1", "--params", str(ROOT/"params.yaml")], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2 and done.stdout == "" and done.stderr.count("\n") == 1 and "Traceback" not in done.stderr


def test_help_lists_them():
    from liquidity_game.app.cli import main
    for arguments, words in ((["cards"], ("posterior", "solve", "evaluate", "rollouts")), (["bench"], ("cards",)), ([], ("cards", "play")), (["cards", "rollouts"], ("COLUMNS", "the same bytes"))):
        out = io.StringIO()
        with contextlib.redirect_stdout(out): assert main([*arguments, "--help"]) == 0
        for word in words: assert word in " ".join(out.getvalue().split())
