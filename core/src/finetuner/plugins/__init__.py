"""The plugin host: hook specifications and the manager."""

import pluggy

hookimpl = pluggy.HookimplMarker("finetuner")
