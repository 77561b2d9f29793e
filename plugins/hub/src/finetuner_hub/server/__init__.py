"""The server half of the hub. Needs the extra ``finetuner-hub[server]``."""
