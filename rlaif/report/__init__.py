"""The report of a round: report.html for people, report.json for programs, what_changed.svg to share.

stage, collect, labelled and costs gather the values of a report; all other files turn values into pages and measure
nothing.
A function `*_view` returns what a section of the page shows, `describe_*` words, `format_*` a number as text.

stage        the stage `evaluation`: both policies judged and reported
collect      a finished round -> the values of its report
verified     right answers by the verifier: of one response, of the majority, of the reward model's choice
labelled     people's labels beside the judge's labels -> the figures of "People and the judge"
costs        what each stage of the round cost
input        `ReportInput`, the values of a report; a part may be missing
page         `ReportInput` -> the files; page.html.j2 and page.css are its template and its style sheet
headline     what moved and the win rate -> one sentence
moved        which measures the constitution names, and which drifted
changed      section "What changed": measures, win rate, rounds
people       section "People and the judge": agreement, rates, reliability, disagreements
calibrated   what people's labels did, in that section: to the judge's labels, to what they lean to, to the policy
trust        section "Can it be trusted": the reward model, signs of reward hacking
judge        the judge's health in words and charts
judges       several judges: how steady each is, and how far they agree
training     how both trainings went; curves.html.j2 is its template, for the report and the audit app
courses      responses over time, and each source of rewards, from the files that training left
tables       cost, what each stage kept, where the numbers come from
cautions     what a reader must know before believing it
charts       charts of a fixed shape
plots        rows of dots with intervals, as wide as the page
svg          the pieces that both draw with
loop_plot    report.json -> what_changed.svg
wording      numbers, estimates and untrusted text as words
"""
