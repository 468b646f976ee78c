"""What holds for every test: no network, no colours, no time limit per hypothesis example."""

import os

from hypothesis import settings

# Before anything imports a library that reads them; child processes inherit them.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["NO_COLOR"] = "1"
os.environ.pop("FORCE_COLOR", None)

# In CI the same examples every time: what passes here passes there; at home new ones are tried.
settings.register_profile("rlaif", deadline=None, print_blob=True, derandomize="CI" in os.environ)
settings.load_profile("rlaif")
