"""Problems that analytics answers with."""

from config.api.problems import Problem


class UnknownMetric(Problem):
    """There is no metric of this name; docs/analytics.md lists them."""

    status, code, title = 400, "unknown_metric", "There is no such metric"


class InvalidSplit(Problem):
    """The metric can't be split by that; docs/analytics.md says by what."""

    status, code, title = 400, "invalid_split", "The metric can't be split by that"


class InvalidPeriod(Problem):
    """The period ends before it begins, or has more than 400 days."""

    status, code, title = 400, "invalid_period", "The period is not valid"
