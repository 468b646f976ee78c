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
ranking        verdicts -> Bradley-Terry scores of the systems, and how two rankings agree
"""
