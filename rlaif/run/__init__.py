"""Run: one run as values, between the models below and the stages above. No stage's work is done here.

stages        the table of stages: their order, names, units, options and tables
chain         the training methods of a run: which stage trains with each, and in which folder
folder        a run's folder: made, found, locked
names         names of runs, and those that are reserved
finished      stage.json: a finished stage, and its files compared with what it wrote
round         one round as a value: configuration, ledger, number, seeds, constitution
book          what each stage used, and whether it is done
shelf         the loaded policies and the reward model, by role
world         what the configuration finds in the embedded front desk
stage_gates   what gates between stages said, kept in the round, and the run stopped by a closed one
options       which options a run holds, and how they may change
inputs        digests of everything that stages read by a path
input_checks  those inputs compared with what earlier stages and attempts read
state         the ledger and the records compared with what the run noted of them
stored        a round of a run that is there, opened to be read
"""
