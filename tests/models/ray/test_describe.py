"""What is known of a model without its weights is what the loaded model says of itself."""

from rlaif.frontdesk import JUDGE_DIR, POLICY_DIR
from rlaif.frontdesk.world import make_prompts
from rlaif.models.local.engine import TransformersEngine
from rlaif.models.ray.engine import describe_causal_lm
from rlaif.models.weights.loading import load_causal_lm
from rlaif.records import Prompt


def test_fingerprint_context_and_token_counts_are_those_of_the_loaded_model():
    chats = [Prompt.from_chat(chat).as_segments() for chat in make_prompts(seed=1, n=3)]
    for folder in (POLICY_DIR, JUDGE_DIR):
        engine = TransformersEngine(load_causal_lm(str(folder), dtype="float32", device="cpu"))
        described = describe_causal_lm(str(folder), revision=None, dtype="float32")
        assert described.fingerprint == engine.fingerprint
        assert described.context_tokens == engine.context_tokens < 10_000
        assert [described.count_tokens(chat) for chat in chats] == [engine.count_tokens(chat) for chat in chats]
