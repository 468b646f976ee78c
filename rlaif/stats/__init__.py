"""Statistics: numbers in, numbers out. No file of this room knows models, runs or prompts.

logits         sigmoid, log-odds and the mean of labels, all exact when two responses are exchanged
intervals      means and shares with 95 % intervals, clustered and weighted
regression     least squares and logistic regression with cluster-robust intervals
bradley_terry  wins between items -> their scores
betting        certificates and intervals of a mean that hold whenever somebody stops
ranks          comparing and ordering computed numbers without rounding deciding
"""
