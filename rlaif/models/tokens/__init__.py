"""Segmented chats -> token ids, such that text of a model or a data set never becomes a control token.

prompt_tokens: the encoder of one model, the only way into a prompt
chat_layout: the text that the chat template writes for a conversation, in segments
chat_parts: the template's literal text around each message
template_process: chat templates rendered in another process, within limits
template_worker: what that process does
answer_form: the template's text before and after an answer
bare_tokenizer: the tokenizer without its control tokens
watched_tokenizer: a tokenizer whose calls end, with bounds of time and memory
encoder_check: whether the encoder and the tokenizer give the same ids
"""
