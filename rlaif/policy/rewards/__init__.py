"""Sources of rewards: episodes in, scores or failures out.

episodes   what an episode, a source and a failure are; all sources asked, their scores weighted and added
sources    the sources that the configuration names
tally      how many episodes got a reward, and why others got none
judge      the run's judge scores responses, without a reward model
ranked     the run's judge puts the responses to a prompt in order
function   a user's Python function
verified   a verifier, with partial credit
endpoint   a user's server
"""
