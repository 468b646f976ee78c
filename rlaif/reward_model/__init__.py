"""The reward model: preference rows -> a model that gives one response one number.

data        rows -> token ids, and a fixed plan of batches
ratings     ratings of several people on one scale
loss        Bradley-Terry and K-way losses on soft labels, and losses of ratings and thumbs
model       the policy's trunk with a scalar head, and its rewards
frozen      which weights are trained, and the frozen layers' output, computed once
pair_fit    features of responses -> the direction along which they are preferred
readout     that direction in the mean of all tokens' states, written into the last layer
human_weight  how much people's rows count, chosen by how well people's choices are predicted
with_people  how well held-out rows are ordered with people's rows and without them, by source
source_trials  these figures by name, for a model's card and the report
correction  the judge's labels, moved to where people differ from the judge
length_bias  the labels' leaning to longer responses, fitted beside the rewards
early_stop  the step whose weights predict people's choices best on prompts left out
optimise    the training loop
checkpoint  the state of a training on disk
train       the whole training, resumed where it was killed
ensemble    several reward models in one folder, and what they say together
members     several reward models of one data set, trained one after the other
held_out    rewards of held-out pairs -> accuracy and log loss, of one model or of several
reward_bench  accuracy on rows of RewardBench's format
save        the finished model's folder and its card
score       prompts and responses as texts -> rewards
stage       the stage `reward model` of a run
"""
