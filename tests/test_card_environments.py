"""The card market as other people's programs use it: Stable-Baselines3 trains on it with masks and without, PettingZoo and Gymnasium convert and wrap it, a process imports it without torch."""
import copy
import hashlib
import json
import pickle
import subprocess
import sys
import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from pettingzoo.test import api_test, parallel_api_test, parallel_seed_test
from pettingzoo.utils import parallel_to_aec

import liquidity_game.cards.env as cards
from liquidity_game.cards.bench import choose_valid
from liquidity_game.cards.game import cards_config, play, replay, write_replay
from liquidity_game.config import load_params, override
from liquidity_game.types import BadAction, LiquidityGameError

NAME = "liquidity_game/Cards-v0"
KINDS = {"defaults": (), "plain": ("cards.impact.enabled=false", "cards.events.enabled=false"), "hidden": ("cards.events.hidden=true", "cards.events.persist=0.7"),
         "private": ("cards.hints.private=true", "cards.reward.kind=log_wealth"), "poor": ("cards.budget.initial=60", "cards.invalid=reject"),
         "remaps": ("cards.events.frequencies={none: 0.5, remap_value: 0.5}", "cards.events.hidden=true"), "one round": ("cards.rounds=1",)}
each_kind = pytest.mark.parametrize("changes", KINDS.values(), ids=KINDS)


@pytest.fixture
def strict():
    "Warnings of a checker are errors, but for what PettingZoo says of every environment with masks that it does not know by name."
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message="Observation (space for each agent probably should be|is not a NumPy array)")
        yield


@each_kind
def test_gymnasium_checks(strict, changes): check_env(gymnasium.make(NAME, changes=changes).unwrapped)


@each_kind
def test_pettingzoo_checks(strict, changes):
    parallel_api_test(cards.CardsParallelEnv(changes=changes), num_cycles=30)
    parallel_seed_test(lambda: cards.CardsParallelEnv(changes=changes))
    api_test(parallel_to_aec(cards.CardsParallelEnv(changes=changes)), num_cycles=60)


@each_kind
def test_sb3_checks(sb3, strict, changes):
    from stable_baselines3.common.env_checker import check_env as check
    check(gymnasium.make(NAME, changes=changes).unwrapped)


def moved(before: dict, policy) -> bool:
    "Whether weights have changed and are numbers."
    after = policy.state_dict()
    return all(value.isfinite().all() for value in after.values()) and any((after[name] != before[name]).any() for name in before)


@pytest.mark.parametrize("algorithm", ["PPO", "DQN"])
def test_learners_without_masks(sb3, algorithm):
    "They send what the budget forbids; it counts as a pass."
    made = gymnasium.make(NAME, changes=KINDS["poor"])
    options = dict(n_steps=64, batch_size=32, n_epochs=2) if algorithm == "PPO" else dict(learning_starts=32, buffer_size=500, batch_size=32)
    learner = getattr(sb3, algorithm)("MlpPolicy", made, seed=0, device="cpu", **options)
    before = {name: value.clone() for name, value in learner.policy.state_dict().items()}
    assert moved(before, learner.learn(192).policy)


def test_learner_with_masks(sb3):
    contrib = pytest.importorskip("sb3_contrib", reason="sb3-contrib is not installed")
    made = gymnasium.make(NAME, changes=("cards.budget.initial=60",))  # a forbidden action would be an error
    learner = contrib.MaskablePPO("MlpPolicy", made, n_steps=64, batch_size=32, n_epochs=2, seed=0, device="cpu")
    before = {name: value.clone() for name, value in learner.policy.state_dict().items()}
    assert moved(before, learner.learn(192).policy)


def test_forbidden_actions_are_errors_without_rejection():
    env = gymnasium.make(NAME, changes=("cards.budget.initial=20",))
    _, info = env.reset(seed=1)
    forbidden = np.flatnonzero(info["action_mask"] == 0)
    assert len(forbidden)
    for action in forbidden:
        with pytest.raises(BadAction, match="game 0, player 0: action"): env.step(int(action))


def test_gymnasium_wrappers():
    "Environments in a list, statistics of episodes, scaled observations."
    several = gymnasium.vector.SyncVectorEnv([lambda: gymnasium.make(NAME)]*2)
    seen, info = several.reset(seed=1)
    for _ in range(25): seen, *_ = several.step(np.zeros(2, int))
    assert several.observation_space.contains(seen)
    counted = gymnasium.wrappers.RecordEpisodeStatistics(gymnasium.wrappers.NormalizeObservation(gymnasium.make(NAME)))
    counted.reset(seed=1)
    for _ in range(10): *_, info = counted.step(3)
    assert info["episode"]["l"] == 10 and abs(info["episode"]["r"] - info["totals"]["pnl"]) < 1e-3
    vector = gymnasium.wrappers.vector.RecordEpisodeStatistics(gymnasium.make_vec(NAME, num_envs=3))
    vector.reset(seed=1)
    for _ in range(10): *_, info = vector.step(np.zeros(3, int))
    assert (info["episode"]["l"] == 10).all() and info["_final_info"].all() and (info["final_info"]["ending"] == 1).all()


@pytest.mark.parametrize("players", [1, 2])
def test_a_row_is_a_replay(tmp_path, players):
    "A game of a batch, played plainly on its numbers with its actions, written, and read again."
    batch = cards.CardBatch(cards_config(override(load_params(cards.find_params()), KINDS["hidden"])), 5, players)
    batch.reset(2)
    rng, sent, pnl = np.random.default_rng(0), [], np.zeros(players)
    numbers, actions = batch.draws(3), np.zeros((5, players), np.int64)
    for _ in range(batch.cfg.rounds):
        choose_valid(batch.masks, rng.random(actions.shape), actions)
        sent.append(actions[3].tolist())
        *_, info = batch.step(actions)
        pnl += info["pnl"][3]
    moves = iter(sent)
    steps = play(batch.game, lambda *_: next(moves), numbers)
    assert steps[-1].after.ended == cards.ENDINGS[info["ending"][3]] and list(steps[-1].after.wealth) == info["wealth"][3].tolist()
    assert np.allclose(pnl, info["episode"]["pnl"][3])
    write_replay(tmp_path/"game.jsonl", batch.game, steps)
    assert replay(tmp_path/"game.jsonl")[1] == steps


def test_cards_do_not_change():
    "Events and sums of a seed, as integers: whoever changes the order of draws changes every published table."
    batch = cards.CardBatch(cards_config(load_params(cards.find_params())), 64, 2)
    batch.reset(2026)
    met, passing = hashlib.sha256(), np.zeros((64, 2), np.int64)
    for _ in range(40):
        *_, info = batch.step(passing)
        met.update(np.stack([info["S"], info["event"]]).astype("<i8").tobytes())
    assert met.hexdigest()[:16] == "6335c557a0b0514d"


def test_copies_do_not_share_a_game():
    one = gymnasium.make(NAME).unwrapped
    one.reset(seed=1)
    env, batch = copy.deepcopy(one), pickle.loads(pickle.dumps(one.batch))
    with pytest.raises(LiquidityGameError, match="reset"): env.batch.step([[0]])
    with pytest.raises(LiquidityGameError, match="reset"): batch.step([[0]])
    env.reset(seed=1)
    batch.reset(1)
    assert (env.batch.games == one.batch.games).all() and (batch.games == one.batch.games).all()
    one.step(0)
    assert (env.batch.games == batch.games).all() and (one.batch.games != batch.games).any()


def test_import_without_torch():
    program = "import json, sys, liquidity_game.cards.env; print(json.dumps(sorted({'torch', 'torch_geometric', 'matplotlib', 'zmq'} & set(sys.modules))))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
