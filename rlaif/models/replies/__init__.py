"""A judge's reply -> the one verdict in it, the same for every engine.

verdict_text: the grammar of verdicts, read from a whole text
verdict_watch: a reply that is written token by token, and when it is over
local_reply: questions and replies of a local judge as token ids
typography: one character for all forms of the same character
"""
