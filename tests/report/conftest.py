"""The made-up samples, comparisons and reports of tests/made_up_report.py, for the tests of this folder."""

from made_up_report import (  # noqa: F401
    bare_report,
    calibration_of,
    comparison_of,
    constitution,
    full_report,
    sample_of,
)
