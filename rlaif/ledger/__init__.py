"""The ledger: an SQLite file of records, append-only and chained by hashes, with texts stored apart.

store: the open ledger: append, find, redact
writer: single records grouped into commits by a thread
opening: a path -> a connection to a ledger of this version
schema: the tables and their statements
texts: texts stored apart from their records
chain: the hash chain over the rows
listing: the index for filtered lists
queries: lists page by page, and everything behind a decision
sign_offs: the heads that people signed, as cards and reports print them
labels: everything behind a preference's label
lineage: which records a stage used, and what used a principle or a decision
redacted: which records name a text, what repeats it, and who redacted it
answers: who answered many questions, and what that cost
rows: all rows in the order of the chain, and a ledger made again of them
verify: what was changed in a ledger, and where
export: records -> Parquet
disk: network file systems refused, and SQLite's errors as sentences
"""
