"""`liquidity-game play`, as a person at a prompt sees it. `python tests/test_play.py` writes the transcripts anew; read them before you keep them."""
import contextlib
import io
import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

COMMAND = str(Path(sys.executable).with_name("liquidity-game"))
ROOT = Path(__file__).resolve().parent.parent
TRANSCRIPTS = Path(__file__).with_name("transcripts")
SESSIONS = {  # name: arguments, what is typed
    "single": (["--mode", "single", "--events", "on", "--impact", "on", "--seed", "1"], ["?", "10", "", "buy 3", "99", "2", "0", "0", "12", "0", "7", "0", "20", "0"]),
    "single_poor": (["--seed", "6", "--impact", "off", "--set", "cards.budget.initial=60", "--set", "cards.events.frequencies={remap_value: 1.0}"], ["5", "11", "2", "13", "1", "11", "0", "q"]),
    "two_level1": (["--mode", "two", "--opponent", "level1", "--events", "on", "--impact", "on", "--seed", "4"], ["0"]*6 + ["10", "20", "3", "0"]),
    "two_random": (["--mode", "two", "--opponent", "random_valid", "--events", "on", "--impact", "off", "--seed", "7"], ["1"]*10),
    "two_people": (["--mode", "two", "--opponent", "human", "--seed", "1", "--set", "cards.rounds=3"], ["10", "x", "4", "0", "12", "3", "3"]),
    "two_secret": (["--mode", "two", "--opponent", "human", "--seed", "2", "--set", "cards.rounds=2", "--set", "cards.hints.private=true", "--set", "cards.events.hidden=true"], ["1", "11", "0", "2"])}


def play(arguments, text="", **options):
    "The installed command with this text as its input."
    return subprocess.run([COMMAND, "play", *map(str, arguments), "--params", str(ROOT/"params.yaml")], input=text, capture_output=True, encoding="utf-8", **options)


def call(arguments, text=""):
    "The same in this process."
    from liquidity_game.app.cli import main
    out, err, kept = io.StringIO(), io.StringIO(), sys.stdin
    sys.stdin = io.StringIO(text)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err): code = main(["play", *map(str, arguments), "--params", str(ROOT/"params.yaml")])
    finally: sys.stdin = kept
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


@pytest.mark.parametrize("name", SESSIONS)
def test_transcript(name):
    arguments, answers = SESSIONS[name]
    done = (play if name in ("single", "two_people") else call)(arguments, "".join(f"{a}\n" for a in answers))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (TRANSCRIPTS/f"{name}.txt").read_text(encoding="utf-8")
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_both_orders_are_in_before_any_is_executed():
    text = (TRANSCRIPTS/"two_people.txt").read_text(encoding="utf-8")
    assert text.index("A> 10") < text.index("B> x") < text.index("is no order") < text.index("B> 4") < text.index("A bought 10")


def test_who_plays_the_optimum_gets_the_optimum(tmp_path):
    from liquidity_game.cards.game import replay
    alone = json.loads(call(["--seed", 1, "--json"], "0\n"*10).stdout.splitlines()[-1])
    assert alone["players"]["you"] == dict(pnl=0, expected=0, orders=0, units=0) and alone["references"]["optimum"]["expected"] > alone["references"]["ev_oracle"]["expected"]
    assert abs(alone["optimum_per_episode"] - 2.9723) < 1e-3 and (alone["ended"], alone["rounds"], alone["replay"]) == ("rounds", 10, None)
    orders = "".join(f"{a}\n" for a in optimal_orders(1))
    done = json.loads(call(["--seed", 1, "--json", "--out", tmp_path/"game.jsonl"], orders).stdout.splitlines()[-1])
    assert done["players"]["you"] == done["references"]["optimum"] == alone["references"]["optimum"]
    game, steps = replay(tmp_path/"game.jsonl")
    assert len(steps) == 10 and abs(sum(s.outcome.pnl[0] for s in steps) - done["players"]["you"]["pnl"]) < 1e-9


def optimal_orders(seed):
    from liquidity_game.cards.batch import CardBatch
    from liquidity_game.cards.game import cards_config
    from liquidity_game.cards.optimum import BestAction
    from liquidity_game.config import load_params
    batch = CardBatch(cards_config(load_params(ROOT/"params.yaml")), 1)
    obs, policy, orders = batch.reset(seed), BestAction(batch.game), []
    for _ in range(10):
        orders.append(int(policy.act(obs[:, 0], batch.masks[:, 0])[0]))
        obs, *_ = batch.step([[orders[-1]]])
    return orders


def test_leaving_is_no_failure(tmp_path):
    for text, rounds in (("", 0), ("3\n", 1), ("3\nq\n5\n", 1), ("2\n1", 2)):
        done = call(["--seed", 7, "--out", tmp_path/"game.jsonl"], text)
        assert (done.returncode, done.stderr) == (0, "") and f"You left, after {rounds} round{'s' if rounds != 1 else ''}." in done.stdout
        assert "is not written" in done.stdout and not (tmp_path/"game.jsonl").exists()
    for text in ("\x00\n\x1b[A\n9\udc80\n" + "9"*5000 + "\n٣\n", "½\n-0\n+1\n1.0\n1e1\n 2 \n"):
        done = call(["--seed", 7], text)
        assert done.returncode == 0 and done.stderr == "" and "after 1 round." in done.stdout
    done = subprocess.run([COMMAND, "play", "--seed", "7", "--params", str(ROOT/"params.yaml")], input=b"\xff\xfe\n3\n", capture_output=True)
    assert done.returncode == 0 and done.stderr == b"" and b"after 1 round." in done.stdout


def test_stopped_out():
    done = call(["--seed", 1, "--set", "cards.budget.stop_out=0.99"], "10\n"*10)
    assert "Stopped out" in done.stdout and done.returncode == 0
    result = json.loads(call(["--seed", 1, "--set", "cards.budget.stop_out=0.99", "--json"], "10\n"*10).stdout.splitlines()[-1])
    assert result["ended"] == "stop_out" and result["rounds"] < 10


@pytest.mark.parametrize("arguments, told", [
    (["--mode", "three"], "invalid choice"), (["--mode", "two", "--opponent", "nobody"], "human, random_valid"), (["--seed", "-1"], "no seed"), (["--seed", "x"], "no seed"), (["--events", "maybe"], "invalid choice"),
    (["--out", "no/such/folder/game.jsonl"], "cannot be written"), (["--out", "."], "cannot be written"), (["--set", "cards.impact.alpha=-1"], "alpha is -1"), (["--set", "cards.quotes.s_min=4"], "above s_max"),
    (["--set", "cards.rounds=0"], "rounds is 0"), (["--set", "cards.depth.tau=wide"], "expected a number"), (["--set", "rounds"], "sets nothing")])
def test_bad_input_is_one_sentence(arguments, told):
    done = call(arguments, "1\n")
    assert done.returncode == 2 and done.stdout == "" and done.stderr.count("\n") == 1 and told in done.stderr


def own_terminal():
    "In the child: the terminal is its own, and Ctrl-C means what it means there, whoever started the tests in the background."
    import fcntl
    import termios
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.mark.skipif(sys.platform == "win32", reason="a terminal of Unix")
@pytest.mark.parametrize("last", [b"\x04", b"\x03"])
def test_at_a_terminal(last):
    "Ctrl-D and Ctrl-C end with the score so far; what is typed is not printed twice."
    import pty
    ours, theirs = pty.openpty()
    process = subprocess.Popen([COMMAND, "play", "--seed", "7", "--params", str(ROOT/"params.yaml")], stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
                               preexec_fn=own_terminal)
    os.close(theirs)
    seen, waiting = b"", [(b"order> ", b"3\n"), (b"Round 2", b""), (b"order> ", last)]
    try:
        at, until = 0, time.monotonic() + 300
        while time.monotonic() < until:
            if not select.select([ours], [], [], 1)[0]: continue
            try: part = os.read(ours, 4096)
            except OSError: break  # the other end is closed
            if not part: break
            seen += part
            while waiting and (found := seen.find(waiting[0][0], at)) >= 0:
                at = found + len(waiting[0][0])
                if typed := waiting.pop(0)[1]: os.write(ours, typed)
        assert process.wait(60) == 0
    finally:
        os.close(ours)
        if process.poll() is None: process.send_signal(signal.SIGKILL)
    text = seen.decode().replace("\r\n", "\n")
    assert "order> 3\n  you bought 3" in text and "You left, after 1 round." in text and "Traceback" not in text and "expected:" in text


if __name__ == "__main__":
    TRANSCRIPTS.mkdir(exist_ok=True)
    for name, (arguments, answers) in SESSIONS.items():
        done = play(arguments, "".join(f"{a}\n" for a in answers))
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        (TRANSCRIPTS/f"{name}.txt").write_text(done.stdout, encoding="utf-8")
