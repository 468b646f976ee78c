"""What policies and reward models are worth, as numbers with their intervals. Loads no model and asks no judge.

policy               both policies' samples and the judge's comparisons -> win rate, changes, behaviour
length_control       the win rate for responses of equal length
verifier             a response -> its answer, and whether it is the known one
votes                several verified responses -> how often one is right, the majority, the most rewarded one
best_of_n            the change that choosing among n responses makes without training
measures             functions (prompt, response) -> named numbers, built in, of the user or of an embedded world
text_measures        the built-in ones, for ordinary text: words, refusals, contractions, sentiment, a pattern, ...
reward_model         accuracy, log loss and margin on held-out preferences; rewards before and after
reward_calibration   whether a claim, of rewards or of a judge, is as often right as it says
reward_misses        held-out pairs on which the rewards contradict the label
people               people's labels beside the judge's: reliability, honest rates, what calibration changed
leanings             what labels lean to on a measure, before and after people's, and how the policy moved
cost                 calls, tokens, seconds and money of each part of a run
"""
