"""The engine on this machine, with vLLM in a separate process, and vLLM as the sampler of PPO.

engine: a model as generator and as scorer
process: vLLM's process, from here: started, asked and ended
worker: vLLM's process, from inside: a script that imports nothing of rlaif
copy: a copy of the policy in training, in a process on this machine
server: a copy of the policy in training, in a server
weights: a model in memory -> a folder that vLLM takes weights from
"""
