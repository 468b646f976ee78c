"""Preferences: what judges said of pairs becomes labels, and labels become the data set that a reward model trains on.

label               one pair's comparisons -> its label over principles and judges, and whether to learn from it
ranked              a prompt's labelled pairs -> labels of all its pairs by one ranking, or its best response
pairing             all comparisons of a round -> its preferences, and a tally of every pair that makes none
people              people's labels mixed in: they calibrate the judge's labels and take the place of some
stored_calibration  a calibration that is fitted once and applied to other runs
export              preferences -> a folder of Parquet files in the columns that other trainers read
card                the README of that folder
read                a preference folder, file or hub data set, ours or anybody's -> rows
pool                the folders of all rounds so far, or a user's own -> the rows to train on and those held out
diff                two constitutions over the same comparisons -> the pairs that they decide differently
edit_diff           what an edited constitution changes: asks only what the edit made necessary, then compares
diff_judge          the run's judges, to be asked again
edit_plan           labels under two constitutions -> the flips that people are asked about, and the rest
stage               the stage `preferences` of a run
"""
