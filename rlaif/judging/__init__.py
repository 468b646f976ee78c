"""The judging room: pairs of responses -> what judges say of them. An answer counts once it is in the ledger.

judge           the entry: ask one judge about all pairs, and combine its answers
asking          how a judge is asked: constitution, template, configuration, ledger, budget
modes/          the ways to ask about responses: in pairs, one by one, all together, or without a word
questions       the questions that pairs need, and the exact prompt of each
open_questions  those of them that are still to be asked
reuse           answers that the ledger held before: how many, and whose
streaming       asks a judge that holds many questions at once
batches         asks a local judge in planned batches
batch_api       asks through a server's batch endpoint, whose answers come hours later
batch_journal   the batches that are with such a server
batch_answers   their answers on the way into the ledger
question_log    which questions a stage sent, by which their cost is counted
verdict         a reply -> a judgement, or a failure with its cause
choices         the log-probabilities of the strings that count, listed by a server or not
unanswered      questions that got no answer: the error that ends the command
failures        questions that failed: the error for a stage that got nothing else
collect         the ledger's answers -> judgements, comparisons and failures
estimate        what a judge will cost, before it is asked
ask_now         questions asked at once and not kept: probes and checks of a judge
probing         a principle file and a judge -> whether the judge understands each principle
chance          whether a judge's answers changed more than chance explains
recorded        verdicts that already exist -> the same records
recorded_columns, recorded_rows   the column map of such files, and their rows
setup           checks that a judge can be asked, and counts what it spent
panel           the judges of a run: who they are, where each keeps its plans, which template each needs
bench           the run's judges and the evaluation's, lent one at a time, and their budget
stage           the glue to the run: the stage that judges a round's pairs, and a judged round read back
"""
