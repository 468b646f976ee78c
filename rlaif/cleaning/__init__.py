"""Prompts, demonstrations and preferences -> the same rows without faults, and a report of what was found.

texts      Unicode, mojibake, control characters, markup: a text without the fault
personal   e-mail addresses, phone numbers, IBANs and cards replaced
alike      which texts are equal, or equal but for slips and a few words
flips      pairs whose label the other pairs contradict
kinds      what prompts, demonstrations and preferences are made of
clean      every rule of the configuration applied to rows
report     what each rule found, as a value, a file and lines
"""
