"""Calibration: people's labels beside the judge's -> how the two agree, and the map that turns one into the other.

label_columns  `--label-columns`: which columns of a file of labels hold what
labels         files of people's labels -> labels, checked as far as they can be without samples
match          labels that name texts or ids -> labels of samples that exist
calibrate      the judge's log-odds and people's choices -> the simplest map that fits
mix            both together: agreement before and after, the map, and people's own preferences
ppi            the judge on all items, people on a few -> what people would say, and whether a map still holds
choices        files of people's choices and of verdicts (`rlaif agreement`) -> items
people         those items -> every figure of the agreement report
agreement      kappa, AC1, alpha, accuracy, precision, recall and F1, with intervals
spot_check     judged pairs and a seed -> the items that people are asked about, with their probabilities
doubts         comparisons -> pairs on which a judge contradicts itself, or judges one another
sheet          the file that an annotator is given, which says nothing of the judge
answers        the lines of an annotator's file: what they come to, whether they can be, which item is next
answer_file    that file: begun, continued, appended to, read
taken_in       answers and the draw behind them -> human labels, overrides and withdrawals among them
so_far         labels of a draw, finished or not -> agreement with the judge, and about how many labels remain
edit_test      labels of the decisions that an edit flips -> better, worse or undecided
edit_outcomes  what the ledger knows of such tests, in words
label_studio   sheets and answers as Label Studio's tasks and annotations, and back
label_rows     human labels -> rows of JSONL, CSV or a preference set
ranking        verdicts -> Bradley-Terry scores of the systems, and how two rankings agree
"""
