"""The policy's training: demonstrations, or prompts and rewards -> a trained policy.

stage             glue of the stages `sft` and `policy`: gathers what a method needs, and saves what comes back
task              what a method is given, and what it gives back
preference_items  preference rows as pairs or thumbs, and the order in which DPO and KTO learn them
card              the trained policy's README
methods/          the table of training methods, a module each
rewards/          the sources of rewards: reward models, the judge, functions, servers
ppo/              the algorithm
"""
