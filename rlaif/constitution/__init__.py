"""Constitutions and judge templates: the files that users write, checked and turned into prompts.

principles: a principle file -> a checked constitution
selection: the principles that decide a pair
diff: the edits between two constitutions
shipped: names -> files, a user's own before those that come with rlaif
front_matter: the head of a judge template
template_rules: what a template may contain
render: a template and texts -> a prompt in trusted and untrusted segments
probe: whether a judge understands each principle
probe_file: the pairs for that, read and checked
example_probes: the pairs for that, from a principle's own examples
"""
