"""What follows from a plan: how many bytes go where, which step hands what to which, and how long it will take.

Nothing of it changes the plan.
"""

from openhcs_engine.plan.facts.facts import ArtifactLink, PlanFacts, StepFacts, facts_of_plan
from openhcs_engine.plan.facts.prediction import Prediction

__all__ = ["ArtifactLink", "PlanFacts", "Prediction", "StepFacts", "facts_of_plan"]
