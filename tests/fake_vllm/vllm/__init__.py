"""Stands for vLLM where it is not installed: what rlaif asks of it, computed from the token ids alone.

It writes the ids of the prompt once more, or the option `writes`. A prompt that begins with one of the magic ids does
something else. The log-probability of a token at a place is minus the place, and a thousandth of the token less.
"""

import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

DIE, SLEEP, FORK, SAY_OOM, TELL = 9001, 9002, 9003, 9004, 9005


class SamplingParams(SimpleNamespace):
    pass


class LLM:
    def __init__(self, **options):
        print("vLLM prints what it likes")
        if options.get("fail"):
            raise ValueError(options["fail"])
        self._options = options
        self._told = [f"start {options.get('model')}"]

    def collective_rpc(self, method, kwargs):
        self._told.append(f"{method} {kwargs['weights_path']}")

    def sleep(self, level):
        self._told.append(f"sleep {level}")

    def wake_up(self):
        self._told.append("wake up")

    def reset_prefix_cache(self):
        return True

    def generate(self, prompts, params, use_tqdm):
        assert not use_tqdm
        params = [params] * len(prompts) if isinstance(params, SamplingParams) else params
        return [
            SimpleNamespace(
                outputs=[self._write(prompt["prompt_token_ids"], how)],
                prompt_logprobs=_read(prompt["prompt_token_ids"], how),
            )
            for prompt, how in zip(prompts, params, strict=True)
        ]

    def _write(self, ids, how):
        if ids[0] == TELL:  # what it was told so far, and its environment, as characters
            launched = sorted(name for name in os.environ if name in ("RANK", "WORLD_SIZE", "MASTER_ADDR"))
            ids = [ord(letter) for letter in "; ".join([*self._told, *launched])]
        if ids[0] == DIE:
            os.kill(os.getpid(), signal.SIGKILL)
        if ids[0] == SLEEP:
            time.sleep(600)
        if ids[0] == FORK:
            # as the workers of several GPUs: they hold the pipes open, and outlive who started them
            subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], close_fds=False)
        if ids[0] == SAY_OOM:
            raise RuntimeError("CUDA out of memory. Tried to allocate 20 GiB")
        written = (self._options.get("writes") or ids)[: how.max_tokens]
        asked = getattr(how, "logprob_token_ids", None) or ()
        if getattr(how, "logprobs", None) == 0:
            asked = written
        places = [
            {token: SimpleNamespace(logprob=-place - token / 1000) for token in asked} for place in range(len(written))
        ]
        return SimpleNamespace(token_ids=tuple(written), logprobs=places)


def _read(ids, how):
    if getattr(how, "prompt_logprobs", None) != 0:
        return None
    return [None, *({token: SimpleNamespace(logprob=-at - token / 1000)} for at, token in enumerate(ids[1:], 1))]
