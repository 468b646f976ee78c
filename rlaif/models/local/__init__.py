"""The engine on this machine, with transformers: batches that compute shared beginnings of prompts once.

engine: a loaded model as generator and as scorer
decode: prompts -> sampled tokens, log-probabilities and choices
likelihood: conversations and given responses -> the log-likelihood of each
branches: rows that are continued token by token over shared states
prefix_tree: the stretches that prompts share
tree_pass: a tree of stretches -> its keys and values
kv_cache: different prompts -> their keys and values
share_check: whether a model can run a tree
layers: a model's stack of layers, entered, left or recomputed
upper_layers: a model's upper layers, and how many layers below are frozen
linear_head: a model's last layer, removed or extended
adapted: layers with a LoRA adapter, computed with fewer passes over memory
halving: a batch that does not fit into memory, in halves
"""
