"""The options of a run: closed, typed classes whose field docstrings are the help texts, and the way to them.

base: what all option classes share
run: the whole configuration
generate: prompts and sampling
models: a local model, as policy or judge
judge: who judges, through which engine, at which cost at most
preferences: how comparisons become labels
calibration: people's labels
methods: the training methods by name, what each learns from, and how they follow one another
cleaning: faults of prompts, demonstrations and preferences, and what happens to them
sft: supervised fine-tuning
ift: intuitive fine-tuning
rft: reward learning from demonstrations
verifier: answers that can be verified, and reinforced fine-tuning
learner: what methods that learn from demonstrations share
weights: which of a policy's weights are trained, for every method
by_preferences: DPO and KTO
reward_model: the reward model's training
ppo: the policy's training
ppo_model: PPO's value model, reference and trained weights
ppo_rewards: the sources of PPO's rewards
ppo_rollout: what samples PPO's responses
addresses: what is wrong with the address of a server
ppo_guards: alarms, evaluations and the policy that is kept
seft: self-evolution fine-tuning
evaluation: the trained policy against the starting one
gates: when the loop stops before its last round, and a round before its next stage
scale: workers of a Ray cluster
load: a file and the command line -> a validated configuration
renamed: options under the names that they had before
sources: file, preset and command line combined
presets: published recipes by name
resolve: values that suit the named models
options: a flat list of all options in plain words
file_changes: what was edited in a run's config file
column_map: which columns of a user's files hold what
functions: `module:function` -> the function
user_code: the user's Python code, run so that whatever it does is a value or a sentence
"""
