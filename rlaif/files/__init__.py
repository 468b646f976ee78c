"""Files on disk, read and written strictly; no stage of a run is known here.

atomic: files and folders written as a whole, digests, the current time
full_disk: whether an error comes from a full disk
little_memory: whether this process may use too little memory
file_errors: the sentence for any other error of the operating system
texts: text files of a user, read whole
own_files: files that rlaif wrote, read again; damage is refused in a sentence
sealed: a folder's digests, stored in the folder
batch_plan: a stage's batches, stored so that a resumed run keeps them
strict_yaml: YAML as plain values with their lines
row: one row and its cells
json_rows: rows of JSON, one a line or in a document
rows: JSON, CSV, TSV, Parquet and Arrow files as rows
odd_rows: rows that cannot be read, counted and named
messages: a cell as chat messages
bench_rows: decided pairs as rows of RewardBench's format
row_sources: a file, a folder or a hub data set as rows
row_parts: the splits and subsets of a folder of rows
transcripts: a dialogue in one text as messages
markdown: text of strangers in Markdown
"""
