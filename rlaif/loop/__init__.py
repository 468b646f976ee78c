"""Loop: what surrounds the stages. A run is checked and opened, waits for people, and gates may end its rounds.

preflight    what a command was given, checked before torch is imported
clean_file   a user's file of rows -> a report of its faults, and a cleaned copy
dry_run      what a run would ask of its models, counted without running it
open_run     a new run, or one that is there, opened for work
people       a round's pairs drawn for people, and the run waiting until all of them have an answer
transport    a round's fresh labels beside what the calibration of the rounds before says of the same pairs
spot_draw    judged rounds -> a sheet for annotators, and the draw in the ledger
spot_labels  annotators' answers and other files of labels -> human labels in the ledger, and out of it again
rounds       finished rounds: a row each, rounds.json, a table for people
gates        the figures of a round that end the loop
stage_gates  the figure of a stage that ends a round before its next stage
"""
