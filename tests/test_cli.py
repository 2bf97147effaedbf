"""The installed command, as a shell sees it."""
import contextlib
import io
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
    "The installed command, in a process of its own."
    environment = {k: v for k, v in os.environ.items() if k != "LIQUIDITY_GAME_DATA"} | env
    return subprocess.run([COMMAND, *map(str, arguments)], capture_output=True, text=True, stdin=subprocess.DEVNULL, env=environment)


def call(*arguments):
    "The same function in this process, which has loaded what it needs; an error that it lets through fails the test."
    from liquidity_game.app.cli import main
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err): code = main(map(str, arguments))
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


def refused(done):
    "The one sentence of a call that got wrong usage or bad input."
    assert done.returncode == 2 and done.stdout == "" and done.stderr.count("\n") == 1 and done.stderr.startswith("liquidity-game"), done.stderr
    return done.stderr.strip()


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
    done = call(*(tmp_path/"out" if a == "OUT" else a for a in arguments))
    assert refused(done)
    assert not (tmp_path/"out").exists()


def test_help_says_what_is_read_and_written():
    for name, words in (("train", ("log.csv", "checkpoint", "data/train/SCENARIO", "a scenario is one of them")), ("evaluate", ("it writes nothing", "section 'configurations'")),
                        ("analyze", ("log.csv", "data/train/SCENARIO/rewards.csv", "writes the picture")), ("claims", ("claims.json", "make repro", "writes nothing"))):
        text = " ".join(call(name, "--help").stdout.split())
        for word in words: assert word in text, f"{name} --help does not say {word!r}"


def test_the_parameter_file_is_looked_for_upwards(root, tmp_path, monkeypatch):
    "From a folder inside, the file above; another program's file is told as such, and not overlooked."
    inside = tmp_path/"mine"/"runs"
    inside.mkdir(parents=True)
    monkeypatch.chdir(inside)
    (tmp_path/"params.yaml").write_text((root/"params.yaml").read_text())
    judge = ("evaluate", "--scenario", "single_maker", "--policy", "do_nothing", "--episodes", "2")
    done = call(*judge, "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["objective"] == 0
    assert "../../params.yaml: section 'market': unknown key 'phy'" in refused(call(*judge, "--set", "market.phy=1"))
    for text, told in (("lr: 0.1\n", "has no section 'configurations'"), ("configurations: [1]\n", "expected a mapping"), ("configurations: {single_maker: {}}\n", "section 'market' is missing"),
                       ("- 1\n", "is a mapping of sections"), ("a: [\n", "not valid YAML"), ("[" * 5000, "not valid YAML")):
        (tmp_path/"mine"/"params.yaml").write_text(text)
        sentence = refused(call(*judge))
        assert "../params.yaml" in sentence and told in sentence


@pytest.mark.parametrize("arguments, told", [
    (["bench", "market", "--batch", "1000000000"], "--batch is 1,000,000,000"), (["evaluate", "--policy", "random", "--episodes", "1000000000"], "--episodes is 1,000,000,000"),
    (["evaluate", "--policy", "glft", "--episodes", "1000000000"], "--episodes is 1,000,000,000"), (["evaluate", "--policy", "random", "--set", "runs.episodes=1000000000"], "runs.episodes is 1,000,000,000"),
    (["train", "--seed", "0", "--out", "OUT", "--episodes", "1000000000"], "--episodes is 1,000,000,000")])
def test_what_no_memory_holds_is_refused_before_anything_happens(arguments, told, root, tmp_path):
    sentence = refused(call(*(tmp_path/"out" if a == "OUT" else a for a in arguments), "--scenario", "single_maker", "--params", root/"params.yaml"))
    assert told in sentence and "GiB hold" in sentence and not (tmp_path/"out").exists()


def test_memory_that_runs_out_is_one_sentence():
    code = ("import sys, numpy as np; from liquidity_game.app import cli\n"
            "cli.COMMANDS['claims'] = cli.COMMANDS['claims']._replace(does=lambda args: np.zeros(2**62, np.uint8))\n"
            "sys.exit(cli.main(['claims']))")
    sentence = refused(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True))
    assert "Unable to allocate" in sentence


def test_a_place_that_cannot_be_written_is_refused(root, tmp_path):
    (tmp_path/"file").write_text("")
    (tmp_path/"log.csv").write_text("steps,objective\n1,1\n2,2\n")
    small = [part for change in ("train.steps=1024", "ppo.markets=8", "ppo.rollout_steps=64", "market.episode_steps=50") for part in ("--set", change)]
    assert f"{tmp_path/'file'} is a file; --out is a folder" in refused(call("train", "--scenario", "single_maker", "--params", root/"params.yaml", "--seed", "0", *small, "--out", tmp_path/"file"))
    for out in (tmp_path/"file"/"run", *(["/proc/x"] if Path("/proc").is_dir() else [])):
        assert str(out) in refused(call("train", "--scenario", "single_maker", "--params", root/"params.yaml", "--seed", "0", *small, "--out", out))
    assert str(tmp_path/"file") in refused(call("analyze", "--csv", tmp_path/"log.csv", "--out", tmp_path/"file"/"a.png"))


@pytest.mark.parametrize("text, told", [("[" * 100_000 + "]" * 100_000, "nested too deeply"), ("1" * 5000, "is not JSON"), ("[1]", "a list of objects"), ("\xff", "")])
def test_claims_that_are_none(text, told, tmp_path):
    (tmp_path/"claims.json").write_text(text, encoding="latin-1")
    assert told in refused(call("claims", "--file", tmp_path/"claims.json"))


def test_claims_fit_a_page_and_show_their_margin(tmp_path):
    rows = [dict(id="close", statement="A share " + "of something measured " * 12, value=0.7500004, low=0.7499996, high=0.76, target="value >= 0.75", holds=True, stage="targets"),
            dict(id="lost", statement="x" * 300, value=None, low=None, high=None, target="value >= 0.95", holds=False, stage="train", cause="The denominator is 0.")]
    (tmp_path/"claims.json").write_text(json.dumps(rows))
    done = run("claims", "--file", tmp_path/"claims.json", PYTHONIOENCODING="ascii")
    assert done.returncode == 0 and max(map(len, done.stdout.splitlines())) <= 100
    assert "holds  close: 0.7500004 [0.7499996, 0.76], target value >= 0.75 (targets)" in done.stdout
    assert "FAILS  lost: -, target value >= 0.95" in done.stdout and "The denominator is 0." in done.stdout and "1 of 2 claims hold" in done.stdout
    assert json.loads(call("claims", "--file", tmp_path/"claims.json", "--json").stdout) == rows


def test_claims_are_found_from_a_folder_inside(root, tmp_path, monkeypatch):
    (tmp_path/"inside").mkdir()
    monkeypatch.chdir(tmp_path/"inside")
    (tmp_path/"params.yaml").write_text((root/"params.yaml").read_text())
    assert "../paper/generated/claims.json: No such file" in refused(call("claims"))
    (tmp_path/"paper"/"generated").mkdir(parents=True)
    (tmp_path/"paper"/"generated"/"claims.json").write_text("[]")
    assert call("claims", "--json").stdout == "[]\n"


def test_analyze_drops_nothing_and_invents_no_interval(tmp_path):
    table = tmp_path/"log.csv"
    for cell in ("inf", "-inf", "nan", "1e999", "two"):
        table.write_text(f"steps,objective\n1,2\n2,{cell}\n3,4\n")
        assert "row 2: objective is" in refused(call("analyze", "--csv", table))
    assert not (tmp_path/"analysis.png").exists()
    table.write_text("steps,objective\n1,\n2,3\n3,4\n")
    result = json.loads(call("analyze", "--csv", table, "--json").stdout)
    assert (result["objective"], result["low"], result["high"], result["rows"]) == (4, None, None, 2)
    assert "interval   none: one seed" in call("analyze", "--csv", table).stdout
    table.write_text("seed,steps,objective\n" + "".join(f"{s},{k},{k + s}\n" for s in range(3) for k in range(5)))
    result = json.loads(call("analyze", "--csv", table, "--json").stdout)
    assert result["low"] < result["objective"] < result["high"] and "3 seeds" in result["interval"]


def test_make_repro_ends_with_the_paper_and_spares_a_file_the_bars(root, tmp_path):
    "With a stand-in for DVC: what the command around it adds."
    (tmp_path/"bin").mkdir()
    (tmp_path/"bin"/"dvc").write_text("#!/bin/sh\necho \"$1, TQDM_DISABLE=$TQDM_DISABLE\"\necho 'Use `dvc push` to send your updates to remote storage.'\nexit ${FAIL:-0}\n")
    (tmp_path/"bin"/"dvc").chmod(0o755)
    (tmp_path/".installed-cpu").write_text("")
    environment = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL", "TQDM_DISABLE")}
    make = ["make", "-s", "repro", f"VENV={tmp_path}"]
    lines = subprocess.run(make, cwd=root, env=environment, capture_output=True, text=True, check=True).stdout.splitlines()
    assert "repro, TQDM_DISABLE=1" in lines and lines[-1] == f"The paper is {root/'paper'/'paper.pdf'}"
    failed = subprocess.run(make, cwd=root, env=environment | {"FAIL": "1"}, capture_output=True, text=True)
    assert failed.returncode == 2 and "The paper is" not in failed.stdout


def test_a_run_goes_on_as_itself_alone(root, tmp_path):
    "Nothing is trained into the folder of another run, nor where the log of the checkpoint is gone."
    small = [part for change in ("train.steps=1024", "ppo.markets=8", "ppo.rollout_steps=64", "market.episode_steps=50") for part in ("--set", change)]
    train = ("train", "--scenario", "single_maker", "--params", root/"params.yaml", "--episodes", "4", "--out", tmp_path/"run", *small)
    assert call(*train, "--seed", "0").returncode == 0
    before = {path: path.read_bytes() for path in (tmp_path/"run").rglob("*.*")}
    for change, told in ((("--seed", "1"), "seed 0 and not 1"), (("--seed", "0", "--set", "ppo.epochs=2"), "ppo.epochs 4 and not 2"),
                         (("--seed", "0", "--set", "market.memory=0.2"), "market.market.memory 0.1 and not 0.2")):
        done = call(*train, *change)
        assert done.returncode == 2 and told in done.stderr and done.stderr.count("\n") == 1
        assert {path: path.read_bytes() for path in before} == before
    (tmp_path/"run"/"log.csv").unlink()
    done = call(*train, "--seed", "0")
    assert done.returncode == 2 and "log.csv cannot be read" in done.stderr and done.stderr.count("\n") == 1


def test_runs_of_two_kinds_do_not_mix(root, tmp_path):
    "Neither a training run nor a measurement run is begun in the folder of the other, or among files of others; nothing there changes."
    small = [part for change in ("train.steps=1024", "ppo.markets=8", "ppo.rollout_steps=64", "market.episode_steps=50") for part in ("--set", change)]
    train = ("train", "--scenario", "single_maker", "--params", root/"params.yaml", "--seed", "0", "--episodes", "4", *small, "--out")
    measure = ("measure", "--params", root/"params.yaml", "--steps", "5", "--no-report", "--out")
    assert call(*train, tmp_path/"learned").returncode == call(*measure, tmp_path/"tape").returncode == 0
    (tmp_path/"mine").mkdir()
    (tmp_path/"mine"/"notes.txt").write_text("mine")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for command, place, told in ((measure, "learned", "holds a training run"), (train, "tape", "holds a measurement run"), (measure, "mine", "is not empty and holds no measurement run"), (train, "mine", "is not empty and holds no training run")):
        assert f"{tmp_path/place} {told}; choose another --out" in refused(call(*command, tmp_path/place))
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    for command, place in ((train, "learned"), (measure, "tape")): assert call(*command, tmp_path/place).returncode == 0  # each goes on, or begins again, as itself


def test_a_parameter_file_from_afar_is_told(root, tmp_path, monkeypatch):
    "Outside of every project the file beside the package is read, and said to be; above the working directory nothing is said."
    from liquidity_game import config
    judge = ("evaluate", "--scenario", "single_maker", "--policy", "do_nothing", "--episodes", "2", "--json")
    monkeypatch.chdir(tmp_path)
    done = call(*judge)
    assert done.returncode == 0 and json.loads(done.stdout)["objective"] == 0
    assert done.stderr == f"liquidity-game: read {Path(config.__file__).resolve().parent.parent/'params.yaml'}, as there is no params.yaml in the working directory or above it\n"
    monkeypatch.chdir(root/"nbs")
    assert call(*judge).stderr == ""


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
