"""A person and the ledger: lists, decisions and labels to read, proofs that they still stand, and the labels of people.

Every view is a frozen value of texts; the command line prints it, and a page can print the same one. Only the
files about tests of edits write to the ledger, by appending.

ledger_file    which ledger is read, and its rows against the heads that were printed of it
heads          the heads in a run's manifest, cards and reports, and which of these files are damaged
listing        judgements, flipped pairs or failed answers, page by page
decision       one decision in full: the comparison, every order, its prompt and what came back
label          one label: its evidence, what each comparison counted as, every step since
edit_tests     an edited principle file -> a test of it by people, and where the test stands
edit_refusals  what such a test refuses, in a sentence each
judge_tests    two judges of the same pairs -> the same test of which is better
proof          a judge's prompt rendered again, and its digest compared
view           facts and sections, of which the views are made
"""
