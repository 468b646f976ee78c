"""The front desk: a small closed world with a policy and a judge trained from scratch, both shipped here.

Only the fronts, tests and benchmarks know this world; no stage of the pipeline imports it.

world: notices, visitors' questions, and which prompts are held out
replies: replies with chosen qualities
truth: what is true of a reply, the simulated annotator, the planted biases
tasks: five qualities at once, and people who show or rate them, for studies
wordings: the grammar of principle wordings
judge_text: the judge's prompts, and the replies it learns to write
tokenizer: one token per word of the world
tiny_llama: the model, its optimiser, its folder
two_part: the judge's training forward pass
train_models: makes tokenizer, policy and judge from scratch
train_base: the model that policy and judge start from
train_marks: the policy, with a mark after each reply
train_judge: the judge
value_drills: two values side by side, for both trainings
ask: the shipped models, asked as any model is
judge_quality: how good and how biased the judge is
measure_models: policy and judge measured
cards: their model cards
make_probes: makes the judge's probe pairs
probe_quality: how far the probes can be trusted
probe_wordings: wordings to test the probes on
"""

from pathlib import Path

POLICY_DIR = Path(__file__).parent / "policy"
JUDGE_DIR = Path(__file__).parent / "judge"
