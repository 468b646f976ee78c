"""A person and the ledger: lists, decisions and labels to read, proofs that they still stand, and the labels of people.

Every view is a frozen value of texts; the command line prints it, and a page can print the same one. Only the
files about spot checks and tests of edits write to the ledger, by appending.

ledger_file    which ledger is read, and its rows against the heads that were printed of it
signed_heads   heads as texts that people sign by OpenSSH, and such signatures checked
head_file      the newest head -> a new file for people to sign
pack           a run and its ledger -> a folder that a third party checks alone
pack_files     such a folder written, and read again with every file compared
pack_check     such a folder -> what holds in it and what does not
rederive       a judged round made again from its questions and answers
compared       records beside the same records made again: which field differs first
heads          the heads in a run's manifest, cards and reports, and which of these files are damaged
listing        judgements, flipped pairs or failed answers, page by page
decision       one decision in full: the comparison, every order, its prompt and what came back
label          one label: its evidence, what each comparison counted as, every step since
spot_draw      judged runs -> a sheet for annotators, and the draw in the ledger
spot_labels    annotators' answers and other files of labels -> human labels in the ledger, and out of it again
edit_tests     an edited principle file -> a test of it by people, and where the test stands
edit_refusals  what such a test refuses, in a sentence each
judge_tests    two judges of the same pairs -> the same test of which is better
proof          a judge's prompt rendered again, and its digest compared
view           facts and sections, of which the views are made
"""
