"""PPO: prompts and a reward -> a trained policy. train.py is the loop; begin there.

A training:
    train           the loop, from the first step to the last
    start           a training begins, or resumes from a checkpoint
    progress        what a later step depends on beside weights, as plain values
    checkpoint      weights, moments and progress on disk
    log             metrics.jsonl, responses, and lines for people
    stage           glue: what a run hands to it, and the job of a team's other processes
A step:
    batching        which prompts, in which order, and which sequences are computed together
    trajectories    prompts and sampled responses, as token ids and text
    rollout         a step's responses, drawn now or prefetched
    engines         what samples them: the policy itself, or vLLM
    mismatch        the gap between what sampled and the policy
    shaping         scores and the KL penalty -> rewards per token
    advantages      rewards and values -> advantages and returns
    prepare         all that the updates need, as one batch
    loss            the losses, token by token
    update          the optimizer steps
    metrics         what a step measured, and the seconds of its phases
Models:
    models          the policy with a value head or a value model
    trained         which weights are trained
    reference       the frozen policy that the KL is taken to
    passes          one forward pass over prompts and responses
    token_logprobs  log-probabilities without logits of all tokens at once
    token_budget    how many tokens go through a model at once
    sharing         one learner in several processes
    given_models    the models that a run hands to PPO
Watching it:
    checks          what evaluations measure beside the reward, as functions
    asked_checks    the same functions, made of a run's judge, model and measures
    evaluate        an evaluation on held-out prompts
    guards          which numbers give an alarm
    keep            what an alarm does, and which policy is kept
"""
