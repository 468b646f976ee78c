"""The pages of `rlaif audit serve` and of blind labelling, in a browser on this machine (extra `ui`).

Rendered by the server; without JavaScript all of it works, with it keys do too.

guard      whom a server answers, what it accepts, and what its answers allow a browser to do
app        the pages of the audit app, and what they write
trained    its pages about what was trained, and about two runs beside each other
filters    the filters of a list, by its address
search_pages  decisions by any filter and words, as a page and as a file
owner      the sheets that people label, and the queues, for their owner
downloads  what a page gives as a file
server     a server's port, templates, style and script, and forms

Blind labelling, which opens a sheet and no ledger:

label_server   its routes, and an address for each annotator
label_desk     what is on an annotator's screen, and what a form does
label_view     two replies folded at one place, and compared word by word
"""
