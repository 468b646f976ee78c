"""Responses -> better ones: the reviser, what it learns from, and a record of every revision.

examples  preferences -> what a reviser learns
reviser   responses -> their revisions, by a trained reviser or by a prompted model
record    every revision with its tag, its scores, and whether it was kept
stage     glue: the prompts, preferences and judge of a method that revises
"""
