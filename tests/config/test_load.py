"""The config file: defaults, overrides, and one sentence with path, line and way out for every mistake."""

import subprocess
import sys

import pytest

from rlaif.config.load import load_config, parse_config
from rlaif.config.run import RunConfig
from rlaif.errors import ConfigError


def refusal(text: str, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_config(text, where="rlaif.yaml", overrides=overrides)
    return caught.value.sentence


def test_without_a_file_everything_has_the_front_desks_value():
    config = load_config()
    assert config == parse_config("", where="x")
    assert (config.policy, config.prompts, config.gates) == (RunConfig().policy, RunConfig().prompts, RunConfig().gates)
    assert config.judge.template == "frontdesk_pair"


def test_the_values_of_a_file_are_read(tmp_path):
    path = tmp_path / "rlaif.yaml"
    path.write_text("seed: 3\nppo:\n  learning_rate: 1e-5\njudge:\n  model:\n    path: judges/mine\n")
    config = load_config(path)
    assert (config.seed, config.ppo.learning_rate, config.judge.model.path) == (3, 1e-5, "judges/mine")
    assert config.ppo.gamma == RunConfig().ppo.gamma


def test_an_override_wins_over_the_file_and_a_later_one_over_an_earlier_one():
    config = parse_config("ppo:\n  gamma: 0.5\n", where="x", overrides=["ppo.gamma=0.6", "ppo.gamma=0.7", "seed=4"])
    assert (config.ppo.gamma, config.seed) == (0.7, 4)


def test_an_override_may_be_a_list_or_quoted_text():
    config = parse_config("", where="x", overrides=["evaluation.measures=[my.module:count]", 'policy.revision="123"'])
    assert config.evaluation.measures == ("my.module:count",)
    assert config.policy.revision == "123"


def test_a_group_whose_lines_are_all_commented_out_means_its_defaults():
    assert parse_config("ppo:\n  # gamma: 0.5\njudge:\n  model:\n", where="x") == load_config()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("sed: 1\n", '"sed" is not an option (rlaif.yaml:1): did you mean "seed"?'),
        (
            "seed: 1\nppo:\n  gama: 1\n",
            '"ppo.gama" is not an option (rlaif.yaml:3): did you mean "ppo.gamma"?',
        ),
        ("gamma: 1\n", '"gamma" is not an option (rlaif.yaml:1): did you mean "ift.gamma" or "ppo.gamma"?'),
        (
            "ppo:\n  kl_ceiling: 10\n",
            '"ppo.kl_ceiling" is not an option (rlaif.yaml:2): did you mean "ppo.guards.kl_ceiling"?',
        ),
        (
            "ledger:\n  zzz: 1\n",
            '"ledger.zzz" is not an option (rlaif.yaml:2): the options of "ledger" are path',
        ),
        (
            "sampling:\n  top_p: 0\n",
            '"sampling.top_p" is 0 (rlaif.yaml:2): write a number above 0, at most 1',
        ),
        (
            "sampling:\n  num_samples: 4.5\n",
            '"sampling.num_samples" is 4.5 (rlaif.yaml:2): write a whole number at least 2, at most 1024',
        ),
        (
            "sampling:\n  num_samples: true\n",
            '"sampling.num_samples" is true (rlaif.yaml:2): write a whole number at least 2, at most 1024',
        ),
        (
            "sampling:\n\n  num_samples: '4'\n",
            '"sampling.num_samples" is "4" (rlaif.yaml:3): write a whole number at least 2, at most 1024',
        ),
        ("judge:\n  both_orders: yes\n", '"judge.both_orders" is "yes" (rlaif.yaml:2): write true or false'),
        (
            "policy:\n  dtype: float23\n",
            '"policy.dtype" is "float23" (rlaif.yaml:2): write one of float32, bfloat16, float16 '
            '(did you mean "float32"?)',
        ),
        (
            "policy:\n  revision: 123\n",
            '"policy.revision" is 123 (rlaif.yaml:2): write text or null, in quotes if it looks like a number',
        ),
        ("ppo:\n  gamma: .nan\n", '"ppo.gamma" is NaN (rlaif.yaml:2): write a number at least 0, at most 1'),
        ("ppo: 3\n", '"ppo" is 3 (rlaif.yaml:1): write its options, on lines of their own under it'),
        ("- a\n", "the config file is not a list of options (rlaif.yaml:1): write `option: value` lines"),
    ],
)
def test_a_mistake_in_the_file_is_named_with_its_path_its_line_and_what_to_write(text, sentence):
    assert refusal(text) == sentence


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("sed=1", '"sed" is not an option (--set sed=1): did you mean "seed"?'),
        ("seed=x", '"seed" is "x" (--set seed=x): write a whole number at least 0, below 2147483648'),
        (
            "seed.x=1",
            '"seed" is {"x": 1} (--set seed.x=1): write a whole number at least 0, below 2147483648',
        ),
        ("seed", '"seed" sets nothing (--set): write --set group.option=value'),
        ("=1", '"=1" sets nothing (--set): write --set group.option=value'),
        ("ppo..gamma=1", '"ppo..gamma=1" sets nothing (--set): write --set group.option=value'),
    ],
)
def test_a_mistake_in_an_override_is_named_with_the_override(override, sentence):
    assert refusal("seed: 3\n", override) == sentence


def test_a_misspelt_key_is_told_before_a_wrong_value():
    assert '"sed" is not an option (rlaif.yaml:2)' in refusal("seed: x\nsed: 1\n")


def test_a_duplicate_key_is_refused():
    assert '"ppo.gamma" stands here a second time (rlaif.yaml:3)' in refusal("ppo:\n  gamma: 1\n  gamma: 1\n")


def test_a_missing_file_is_one_sentence(tmp_path):
    path = tmp_path / "nowhere.yaml"
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert caught.value.sentence == (
        f"there is no such config file ({path}): check the path, or make a config file with `rlaif init DIR`"
    )
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("content", "words"), [(b"\xff\xfe", "not UTF-8"), (None, "cannot be read")], ids=["bytes", "folder"]
)
def test_a_file_that_is_no_text_is_one_sentence(tmp_path, content, words):
    path = tmp_path / "rlaif.yaml"
    path.mkdir() if content is None else path.write_bytes(content)
    with pytest.raises(ConfigError, match=words):
        load_config(path)


def test_loading_a_config_imports_neither_torch_nor_transformers():
    code = (
        "import sys; from rlaif.config.load import load_config; load_config();"
        "sys.exit(', '.join({'torch', 'transformers', 'datasets', 'trl'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("guards", "words"),
    [
        ("judge_every: 7", "judge_every is 7, which is no multiple of evaluate_every (5)"),
        ("{evaluate_every: null, held_out_model: x}", "held_out_model looks at evaluations"),
        ("best_metric: win_rate", "best_metric win_rate needs judge_every"),
        ("best_metric: held_out", "best_metric held_out needs held_out_model"),
        ("{evaluate_every: null, keep: best}", "the best policy is known by evaluations"),
    ],
)
def test_guards_that_nothing_would_tell_are_refused(guards, words):
    inner = guards if guards.startswith("{") else f"{{{guards}}}"
    assert words in refusal(f"ppo: {{guards: {inner}}}\n")


@pytest.mark.parametrize(
    ("guards", "metric", "keeps_best"),
    [
        ("{}", "rlhf_reward", False),
        ("{judge_every: 10}", "win_rate", True),
        ("{held_out_model: x}", "held_out", True),
        ("{held_out_model: x, judge_every: 5}", "win_rate", True),
        ("{held_out_model: x, keep: last}", "held_out", False),
        ("{keep: best}", "rlhf_reward", True),
    ],
)
def test_the_best_policy_is_kept_by_default_where_something_else_than_training_tells_it(guards, metric, keeps_best):
    found = parse_config(f"ppo: {{guards: {guards}}}", where="x").ppo.guards
    assert (found.metric, found.keeps_best) == (metric, keeps_best)


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("evaluation.measures=[a.b.c]", "write module:function, regex:PATTERN or a built-in one"),
        ("ppo.rewards=[{kind: function}]", "the options there are "),
        ("judge.panel=[{pth: x}]", "the options there are "),
    ],
)
def test_a_wrong_name_in_a_list_is_answered_by_what_that_list_takes(override, sentence):
    said = refusal("", override)
    assert sentence in said
    assert "did you mean" not in said
