"""How far a judge can be relied on, from its own answers. Only people's labels say whether it is right.

check           a judged run -> all figures of `rlaif judge-check`
facts           what is known of a round's responses besides the judge's word: texts, measures, people's labels
health          one judge: flips, effect of place, label mass, saturation, by principle
pairs           one judge: what each principle decides, circles, repeats
length_effect   one judge: whether longer responses win, and how much of it is a bias
panel           values about several judges
agreement       how far several judges agree
sentinels       stored questions, asked again: whether the judge still answers as it did
labelled_pairs  a file of pairs whose better reply is known
wordings        three paraphrases of each principle and prompt
trial           labelled pairs -> what a judge says of each, as given and in other wordings
trial_figures   those answers -> the judge's row of figures, beside the longer reply
comparing       several judges and templates on labelled pairs, before any run
"""
