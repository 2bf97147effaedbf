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
    ["bench", "book", "--stream", "no/such/file.npy"], ["claims", "--file", "no/such/file.json"], ["analyze", "--csv", "no/such/file.csv"]])
def test_wrong_usage_is_one_sentence_and_2(arguments):
    done = run(*arguments)
    assert done.returncode == 2 and done.stdout == "" and done.stderr.count("\n") == 1 and done.stderr.startswith("liquidity-game")


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
    assert done.returncode == 1 and "RuntimeError: broken" in done.stderr


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
