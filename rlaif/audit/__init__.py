"""What a person is shown of the ledger: lists, decisions, labels, and whether each still stands.

Every view is a frozen value of texts; the command line prints it, and a page can print the same one. Writes nothing.

ledger_file  which ledger is read, and its rows against the heads that were printed of it
heads        the heads in a run's manifest, cards and reports, and which of these files are damaged
listing      judgements, flipped pairs or failed answers, page by page
decision     one decision in full: the comparison, every order, its prompt and what came back
label        one label: its evidence, what each comparison counted as, every step since
proof        a judge's prompt rendered again, and its digest compared
view         facts and sections, of which the views are made
"""
