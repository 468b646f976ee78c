"""What every training shares.

listener   functions that a training calls while it runs
log        metrics.jsonl and a progress bar
metrics    metrics.jsonl, row by row
team       several processes that train together
crew       the processes beside the first one: they wait for trainings and take part
sigterm    SIGTERM as a request to stop after the current step
"""
