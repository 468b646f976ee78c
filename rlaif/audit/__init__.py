"""A person and the ledger: lists, decisions and labels to read, proofs that they still stand, and the labels of people.

Every view is a frozen value of texts; the command line prints it, and a page can print the same one. Only the
files about tests of edits write to the ledger, by appending.

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
lineage        a model or a round -> everything that it was made of
influence      a principle or a decision -> everything that was made of it
traced         the models, judges and rounds that both are made of
lineage_view   both as facts under titles
decision_rows  filtered comparisons as flat rows with their texts
export         rows as a file for other programs
decision_page  decisions as one HTML page for a colleague
replay         stored questions asked again, of the same judge or another one, and compared
replay_draw    which stored questions that are, each with its prompt proven
replay_judge   which judge that is, by a run's configuration or by its name
redaction      a text that must go: removed from the ledger, and named wherever it still is
text_files     the files that hold a text or a part of it
label          one label: its evidence, what each comparison counted as, every step since
edit_tests     an edited principle file -> a test of it by people, and where the test stands
edit_refusals  what such a test refuses, in a sentence each
judge_tests    two judges of the same pairs -> the same test of which is better
proof          a judge's prompt rendered again, and its digest compared
screen         a decision as one screen: four questions and their answers
quotes         what a judge's reason quotes of the replies
drop_one       a label without each of its principles
search         filters over every decision and words in its texts, through an index
search_index   that index: a file beside the ledger, made when it is asked for
queue_index    the decisions with a sign that the judge may be wrong, in that index
queues         how many decisions are in each queue, and the pairs of one
contradiction  where a judge's reason argues for the reply that it did not choose
agreements     how far people and judge agreed, and on which decisions
principles     what was decided under each principle
sign_offs      signed heads that were handed in, stored and read again
disputes       what people say of single decisions
sheets         the sheets that were drawn for people, as their owner sees them
trainings      how a round's models were trained, and what that was worth at which KL
policies       reward models and policies: cards, what each was made of, what was made of it
two_runs       two rounds beside each other: constitution, settings, measures
two_decisions  what two rounds decided about the same pairs
runs           the runs of a folder and their stages
web/           the pages of `audit serve` and of blind labelling
view           facts and sections, of which the views are made
"""
