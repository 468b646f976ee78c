"""rlaif: steer a language model by written principles (RLAIF, from principle files to PPO)."""

__version__ = "0.1.0"
