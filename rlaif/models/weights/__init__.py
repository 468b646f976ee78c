"""Model folders: found, checked, loaded, adapted and saved.

model_folder: a path or hub id -> a checked folder and its digests
loading: folders -> models ready to use, and back
adapters: LoRA adapters, put on a model, loaded, merged and saved
adapter_options: the options of an adapter that can be used exactly
context: how many tokens a model can read at once
"""
