"""Loop: what surrounds the stages. A run is checked and opened, its rounds are counted, and gates may end them.

preflight  what a command was given, checked before torch is imported
dry_run    what a run would ask of its models, counted without running it
open_run   a new run, or one that is there, opened for work
rounds     finished rounds: a row each, rounds.json, a table for people
gates      the figures of a round that end the loop
"""
