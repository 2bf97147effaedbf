"""The environments as other people's programs use them: Stable-Baselines3 trains on them unmodified, PettingZoo converts them, a process imports them without torch."""
import copy
import json
import subprocess
import sys
import warnings

import gymnasium
import numpy as np
import pytest
from pettingzoo.test import api_test, parallel_api_test
from pettingzoo.utils import parallel_to_aec

import liquidity_game.market.env as env
from liquidity_game.config import load_params, override
from liquidity_game.market.dynamics import MarketError
from liquidity_game.market.faces import Idle, MakerAction, as_policy

NAMES = [f"liquidity_game/{name}-v0" for name in env.SCENARIOS]


def train(sb3, policy: str, made: gymnasium.Env, steps: int = 192):
    "Three updates of PPO as it comes. The weights before and the learner after."
    learner = sb3.PPO(policy, made, n_steps=64, batch_size=32, n_epochs=2, seed=0, device="cpu")
    before = {name: value.clone() for name, value in learner.policy.state_dict().items()}
    return before, learner.learn(steps)


def has_learned(before: dict, learner) -> bool:
    "Whether weights have moved and are numbers, and the actions lie in their space."
    after = learner.policy.state_dict()
    assert all(value.isfinite().all() for value in after.values())
    obs = learner.get_env().reset()
    action, _ = learner.predict(obs)
    assert learner.action_space.contains(action[0])
    return learner.num_timesteps >= 192 and any((after[name] != before[name]).any() for name in before)


@pytest.mark.parametrize("name", NAMES)
def test_ppo_trains(sb3, name):
    assert has_learned(*train(sb3, "MlpPolicy", gymnasium.make(name)))


def test_ppo_trains_on_graphs(sb3):
    assert has_learned(*train(sb3, "MultiInputPolicy", gymnasium.make("liquidity_game/MultiAssetGnnArbitrageur-v0", observation="graph")))


def test_ppo_trains_against_a_policy(sb3):
    "The maker in the other seat is met: the taker trades with it."
    seat = env.MarketParallelEnv("multi_agent_basic").seats["maker"]
    near = as_policy(lambda seen: MakerAction.in_ticks(seen.seat.section, bid=1.0, ask=1.0, lots=5), seat)
    made = gymnasium.make("liquidity_game/MultiAgentBasicTaker-v0", policies={"maker": near})
    assert has_learned(*train(sb3, "MlpPolicy", made, 256))
    truncated = False
    made.reset(seed=1)
    while not truncated: *_, truncated, info = made.step(made.action_space.sample())
    fills = made.unwrapped.market.info["episode"]["fills"][0]
    assert (fills > 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_sb3_checks(sb3, name):
    from stable_baselines3.common.env_checker import check_env
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(gymnasium.make(name).unwrapped)


@pytest.mark.parametrize("name", ["multi_agent_basic", "multi_asset_gnn"])
def test_agents_take_turns(name):
    "PettingZoo's other interface, made of the parallel one."
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message="We recommend agents to be named")  # a role that has one agent has no number
        parallel_api_test(env.MarketParallelEnv(name), num_cycles=10)
        api_test(parallel_to_aec(env.MarketParallelEnv(name)), num_cycles=450)


@pytest.mark.parametrize("observation", env.OBSERVATIONS)
def test_gymnasium_wrappers(observation):
    "Environments in processes of their own, and wrappers for vectors."
    make = lambda: gymnasium.make("liquidity_game/MultiAssetGnnMaker-v0", observation=observation)
    steps = make().unwrapped.market.episode_steps
    several = gymnasium.vector.SyncVectorEnv([make, make])
    seen, _ = several.reset(seed=1)
    assert several.observation_space.contains(seen)
    for _ in range(steps + 5): seen, *_ = several.step(several.action_space.sample())
    assert several.observation_space.contains(seen)
    counted = gymnasium.wrappers.vector.RecordEpisodeStatistics(gymnasium.make_vec("liquidity_game/MultiAssetGnnMaker-v0", num_envs=3, observation=observation))
    counted.reset(seed=1)
    for _ in range(steps): *_, info = counted.step(counted.action_space.sample())
    assert (info["episode"]["l"] == steps).all() and info["final_info"]["totals"]["steps"].tolist() == [steps]*3
    alone = gymnasium.wrappers.RecordEpisodeStatistics(make())
    alone.reset(seed=1)
    for _ in range(steps): *_, info = alone.step(alone.action_space.sample())
    assert info["episode"]["l"] == steps and info["totals"]["steps"] == steps


def test_row_with_policies_in_other_seats():
    "A policy that draws nothing does in row 2 of a batch what it does in that market alone."
    cfg = env.MarketParallelEnv("multi_agent_basic").market.cfg
    batch = env.MarketVectorEnv(3, "taker", {"maker": Idle("maker")}, cfg=cfg)
    rows, _ = batch.reset(seed=4)
    alone = env.MarketBatch(cfg, 1)
    assert (alone.reset(4, first=2)[0, 1] == rows[2]).all()
    joint = env.idle_actions(alone)
    for t in range(250):
        action = batch.action_space.sample()
        joint[0, 1, :2] = action[2]
        assert (batch.step(action)[0][2] == alone.step(joint)[0][0, 1]).all()


def test_copies_do_not_share_a_market():
    one = gymnasium.make("liquidity_game/MultiAgentBasicTaker-v0").unwrapped
    one.reset(seed=1)
    other = copy.deepcopy(one)
    with pytest.raises(MarketError): other.step(np.zeros(2, np.float32))
    other.reset(seed=1)
    for t in range(20):
        action = one.action_space.sample()
        assert (one.step(action)[0] == other.step(action)[0]).all()


def test_import_without_torch():
    program = "import json, sys, liquidity_game.market.env; print(json.dumps(sorted({'torch', 'torch_geometric', 'matplotlib'} & set(sys.modules))))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []


def test_goes_on_after_a_market_has_stopped():
    "A window that cannot follow its mid stops the market; the next reset begins anew, with and without a seed, even if it stopped in the first step of an episode."
    wild = [dict(name="wild", weight=1, stress=1, volatility_ticks=90, intensity=1, size=1, spread_ticks=0)]
    params = override(load_params(env.find_params()), {"market.mid": "fundamental", "market.episode_steps": 3, "regimes.states": wild})
    one = env.RoleEnv("maker", configuration="single_maker", params=params)
    stops = 0
    for seed in (0, None, 1, None, None):
        one.reset(seed=seed)
        try:
            for _ in range(40):
                *_, truncated, _ = one.step(np.ones(3, np.float32))
                if truncated: one.reset()
        except env.MarketError as stopped:
            assert "cannot follow" in str(stopped)
            stops += 1
    assert stops == 5
