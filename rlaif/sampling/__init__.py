"""Sampling: prompts are read, and the policy answers each of them several times.

prompts  files and data sets -> prompts and demonstrations, with a tally of what was dropped
sampler  prompts -> responses, each drawn once; and which pairs of them are judged
stage    the stages `prompts` and `samples` of a run
"""
