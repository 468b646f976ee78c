"""Model folders: found, checked, loaded, adapted and saved.

model_folder: a path or hub id -> a checked folder and its digests
weights_header: what the weights' headers say, compared with the config
reading: a library's error while a folder is read -> one sentence
loading: folders -> models ready to use
saving: models -> folders, and whether that will succeed
adapters: LoRA adapters, put on a model, loaded, merged and saved
adapter_options: the options of an adapter that can be used exactly
patterns: the patterns in an adapter's config, within a time limit
context: how many tokens a model can read at once
"""
