"""The pages of `rlaif audit serve` and of blind labelling, in a browser on this machine (extra `ui`).

Rendered by the server; without JavaScript all of it works, with it keys do too.

guard      whom a server answers, what it accepts, and what its answers allow a browser to do
app        the pages of the audit app, and what they write
server     a server's port, templates, style and script, and forms
"""
