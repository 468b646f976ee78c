"""The methods of a run as links: their folders, and which one a role's policy comes from."""

from __future__ import annotations

from pathlib import Path

from rlaif.config.load import load_config
from rlaif.config.run import RunConfig
from rlaif.run.chain import find_before, find_by_rewards, find_links, last_link
from rlaif.run.folder import RunFolder
from rlaif.run.shelf import Shelf
from rlaif.run.stages import POLICY, SFT


def load(methods: str) -> RunConfig:
    return load_config(overrides=[f"methods={methods}", "sft.demonstrations=d.jsonl"])


def test_a_single_method_works_in_its_stages_folder_as_it_always_did(tmp_path: Path) -> None:
    shelf = Shelf(load("[]"), RunFolder(tmp_path))
    assert shelf.sft_dir == tmp_path / "round_00" / "0_sft" / "model"
    assert shelf.policy_dir == tmp_path / "round_00" / "6_policy" / "model"


def test_of_several_methods_each_has_a_folder_and_the_last_ones_policy_is_the_stages(tmp_path: Path) -> None:
    config = load("[sft, kto, ppo]")
    shelf = Shelf(config, RunFolder(tmp_path), round=2)
    assert [link.folder for link in find_links(config, SFT)] == [""]
    assert [link.folder for link in find_links(config, POLICY)] == ["01_kto", "02_ppo"]
    assert shelf.policy_dir == tmp_path / "round_02" / "6_policy" / "02_ppo" / "model"
    assert shelf.sft_dir == tmp_path / "round_00" / "0_sft" / "model", "before sampling is once, in the first round"


def test_each_link_knows_the_one_before_and_which_one_trains_by_rewards() -> None:
    config = load("[kto, ppo, sft]")
    kto, ppo, sft = find_links(config, POLICY)
    assert [find_before(config, link) for link in (kto, ppo, sft)] == [None, kto, ppo]
    assert find_by_rewards(config) == ppo
    assert last_link(config, POLICY) == sft
    assert find_by_rewards(load("[sft, dpo]")).method == "dpo"
