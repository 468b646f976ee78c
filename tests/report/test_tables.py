"""The report's tables: what proves where the numbers came from."""

from rlaif.report.input import ReportInput
from rlaif.report.tables import facts_view


def test_options_that_were_not_set_stand_in_the_report_with_what_they_came_to(bare_report: ReportInput) -> None:
    resolved = {"ppo.learning_rate": 1e-6, "judge.template": "pair", "ppo.model.value_learning_rate": None}
    provenance = bare_report.provenance.model_copy(update={"resolved": resolved})
    facts = {name: value for name, value, _ in facts_view(bare_report.model_copy(update={"provenance": provenance}))}
    assert facts["Options not set"] == "ppo.learning_rate 1e-06, judge.template pair"
    assert "Options not set" not in [name for name, _, _ in facts_view(bare_report)]
