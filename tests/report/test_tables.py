"""The report's tables: what proves where the numbers came from."""

from rlaif.evaluation.verifier import Checked
from rlaif.evaluation.votes import Answered, compare_answers
from rlaif.report.input import ReportInput
from rlaif.report.page import render_report
from rlaif.report.tables import describe_verified, facts_view


def test_options_that_were_not_set_stand_in_the_report_with_what_they_came_to(bare_report: ReportInput) -> None:
    resolved = {"ppo.learning_rate": 1e-6, "judge.template": "pair", "ppo.model.value_learning_rate": None}
    provenance = bare_report.provenance.model_copy(update={"resolved": resolved})
    facts = {name: value for name, value, _ in facts_view(bare_report.model_copy(update={"provenance": provenance}))}
    assert facts["Options not set"] == "ppo.learning_rate 1e-06, judge.template pair"
    assert "Options not set" not in [name for name, _, _ in facts_view(bare_report)]


def test_right_answers_stand_on_the_page_with_their_intervals_and_what_was_left_out(full_report: ReportInput) -> None:
    def answered(*right: bool) -> list[Answered]:
        return [Answered(str(n), [Checked("4", one), Checked("4", one)]) for n, one in enumerate(right)]

    answers = compare_answers(
        answered(True, False, False, False), answered(True, True, True, False), is_same=str.__eq__, num_unknown=2
    )
    assert answers is not None
    assert describe_verified(answers).startswith("right on 4 held-out prompts: one response 25.0")
    page = render_report(full_report.model_copy(update={"verified": answers}))
    table = page.partition('id="verified"')[2].partition("</table>")[0]
    assert "Share of 4 held-out prompts" in table
    assert "majority of 2" in table
    assert "by the reward model" not in table
    assert "2 further ones have no known answer" in page
    assert 'id="verified"' not in render_report(full_report)
