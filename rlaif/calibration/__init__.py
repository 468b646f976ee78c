"""Calibration: people's labels beside the judge's -> how the two agree, and the map that turns one into the other.

label_columns      `--label-columns`: which columns of a file of labels hold what
labels             files of people's labels -> labels, checked as far as they can be without samples
match              labels that name texts or ids -> labels of samples that exist
fits               the judge's log-odds and people's choices as numbers -> the best map of each kind
calibrate          the simplest kind of map that predicts people's choices on other prompts
artifact           a calibration as a file, bound by digest to judges, templates and constitution
judged             labels and the judge's labels of the same pairs -> the items that a map is fitted to, and the fit
mix                both together: agreement before and after, and the map
human_rows         people's labels of whole pairs -> their own preferences
ppi                the judge on all items, people on a few -> what people would say, and whether a map still holds
agreement_columns  `rlaif agreement --columns`: which columns of people's choices and of verdicts hold what
choices            files of people's choices and of verdicts (`rlaif agreement`) -> items
label_items        a run's labels and its judge's -> such items and verdicts
people             those items -> every figure of the agreement report
judge_quality      the part of that report about a judge: agreement, its ceiling, parts of the items, disagreements
dawid_skene        several people's choices on the same items -> how each errs, and what is right
agreement          kappa, AC1, alpha, accuracy, precision, recall and F1, with intervals
matrices           the statistics of a matrix of choices behind them
pooled             several draws from the same pairs -> their probabilities as one sample
spot_check         judged pairs and a seed -> the items that people are asked about, with their probabilities
doubts             comparisons -> pairs on which a judge contradicts itself, or judges one another
sheet              the file that an annotator is given, which says nothing of the judge
answers            the lines of an annotator's file: what they come to, whether they can be, which item is next
answer_file        that file: begun, continued, appended to, read
taken_in           answers and the draw behind them -> human labels, overrides and withdrawals among them
why_asked          why each item was asked about, for annotators who have answered all of a sheet
so_far             labels of a draw, finished or not -> agreement with the judge, and about how many labels remain
so_far_words       the same as sentences for the owner of the sheet
edit_test          labels of the decisions that an edit flips -> better, worse or undecided
edit_outcomes      what the ledger knows of such tests, in words
label_studio       sheets and answers as Label Studio's tasks and annotations, and back
label_rows         human labels -> rows of JSONL, CSV or a preference set
ranking            verdicts -> Bradley-Terry scores of the systems, and how two rankings agree
"""
