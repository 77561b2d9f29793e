"""Model interpretation: the head rule, planning and freeze policies, pure on neutral data."""

from finetuner.adaptation.planning import make_plan
from finetuner.adaptation.render import plan_from_json, plan_to_json, render_plan

__all__ = ["make_plan", "plan_from_json", "plan_to_json", "render_plan"]
