"""The installed command, as a shell sees it."""
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

COMMAND = str(Path(sys.executable).with_name("liquidity-game"))


def run(*arguments, **env):
    environment = {k: v for k, v in os.environ.items() if k != "LIQUIDITY_GAME_DATA"} | env
    return subprocess.run([COMMAND, *map(str, arguments)], capture_output=True, text=True, stdin=subprocess.DEVNULL, env=environment)


def test_help_lists_the_commands():
    done = run("--help")
    assert done.returncode == 0 and done.stderr == ""
    from liquidity_game.app.cli import COMMANDS
    for name in COMMANDS:
        assert re.search(rf"^    {name.split()[0]} ", done.stdout, re.M)
        assert run(*name.split(), "--help").returncode == 0


@pytest.mark.parametrize("arguments", [
    [], ["nothing"], ["replay"], ["replay", "--format", "lobster", "no/such/file"], ["bench", "book"],
    ["bench", "book", "--stream", "no/such/file.npy"], ["claims", "--file", "no/such/file.json"], ["analyze", "--csv", "no/such/file.csv"],
    ["bench", "market"], ["bench", "market", "--scenario", "single_maker", "--batch", "0"], ["bench", "market", "--scenario", "no_such_scenario"],
    ["train", "--scenario", "single_maker"], ["train", "--scenario", "no_such_scenario", "--seed", "0", "--out", "OUT"], ["train", "--scenario", "single_maker", "--seed", "x", "--out", "OUT"],
    ["train", "--scenario", "single_maker", "--seed", "0", "--out", "OUT", "--set", "ppo.gamma=.inf"], ["train", "--scenario", "single_maker", "--seed", "0", "--out", "OUT", "--set", "market.makers=0"],
    ["evaluate", "--scenario", "single_maker"], ["evaluate", "--scenario", "single_maker", "--policy", "no/such/folder"],
    ["evaluate", "--scenario", "single_maker", "--policy", "random", "--set", "market.makers=0"], ["evaluate", "--scenario", "single_maker", "--policy", "random", "--params", "no/such/file.yaml"]])
def test_wrong_usage_is_one_sentence_and_2(arguments, root, tmp_path):
    if "--scenario" in arguments and "--params" not in arguments: arguments = [*arguments, "--params", root/"params.yaml"]
    done = run(*(tmp_path/"out" if a == "OUT" else a for a in arguments))
    assert done.returncode == 2 and done.stdout == "" and done.stderr.count("\n") == 1 and done.stderr.startswith("liquidity-game")
    assert not (tmp_path/"out").exists()


def test_a_run_goes_on_as_itself_alone(root, tmp_path):
    "Nothing is trained into the folder of another run, nor where the log of the checkpoint is gone."
    small = [part for change in ("train.steps=1024", "ppo.markets=8", "ppo.rollout_steps=64", "market.episode_steps=50") for part in ("--set", change)]
    train = ("train", "--scenario", "single_maker", "--params", root/"params.yaml", "--episodes", "4", "--out", tmp_path/"run", *small)
    assert run(*train, "--seed", "0").returncode == 0
    before = {path: path.read_bytes() for path in (tmp_path/"run").rglob("*.*")}
    for change, told in ((("--seed", "1"), "seed 0 and not 1"), (("--seed", "0", "--set", "ppo.epochs=2"), "ppo.epochs 4 and not 2"),
                         (("--seed", "0", "--set", "market.memory=0.2"), "market.market.memory 0.1 and not 0.2")):
        done = run(*train, *change)
        assert done.returncode == 2 and told in done.stderr and done.stderr.count("\n") == 1
        assert {path: path.read_bytes() for path in before} == before
    (tmp_path/"run"/"log.csv").unlink()
    done = run(*train, "--seed", "0")
    assert done.returncode == 2 and "log.csv cannot be read" in done.stderr and done.stderr.count("\n") == 1


def test_json_is_the_last_line(tmp_path):
    from liquidity_game.types import Kind, Side, messages
    np.save(tmp_path/"two.npy", messages((Kind.LIMIT, Side.SELL, 101, 5, 1), (Kind.MARKET, Side.BUY, 0, 3, 2)))
    done = run("bench", "book", "--stream", tmp_path/"two.npy", "--json")
    assert done.returncode == 0
    result = json.loads(done.stdout.splitlines()[-1])
    assert (result["messages"], result["trades"], result["volume"]) == (2, 1, 3)
    assert result["messages_per_s"] > 0 and isinstance(result["checksum"], int)


def test_a_failure_is_1(tmp_path):
    code = ("import sys; from liquidity_game.app import cli\n"
            "def broken(args): raise RuntimeError('broken')\n"
            "cli.COMMANDS['claims'] = cli.COMMANDS['claims']._replace(does=broken)\n"
            "sys.exit(cli.main(['claims']))")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1 and done.stdout == "" and done.stderr.splitlines()[-1] == "RuntimeError: broken"
    assert ", in broken" in done.stderr  # raised where it was meant to be


def test_a_reader_may_stop_early(tmp_path):
    (tmp_path/"claims.json").write_text(json.dumps([dict(id=str(i), statement="x"*200) for i in range(10_000)]))
    done = subprocess.run(f"{COMMAND} claims --file {tmp_path/'claims.json'} | head -1", shell=True, capture_output=True, text=True)
    assert done.stderr == ""


AAPL = "lobster_AAPL_20120621_0930_1030_L50"


def test_a_real_day(tmp_path):
    folder = os.environ.get("LIQUIDITY_GAME_DATA")
    if not folder or not (Path(folder)/AAPL).is_dir(): pytest.skip(f"LIQUIDITY_GAME_DATA names no folder with {AAPL}")
    result = json.loads(run("replay", "--format", "lobster", AAPL, "--json", LIQUIDITY_GAME_DATA=folder).stdout.splitlines()[-1])
    assert (result["rows"], result["level1_matched"], result["level10_matched"], result["level50_matched"]) == (91_997, 91_907, 672, 664)
    assert (result["executions"], result["executions_at_best"], result["executions_at_front"], result["executions_at_front_anonymous"]) == (4067, 4067, 4046, 12)
