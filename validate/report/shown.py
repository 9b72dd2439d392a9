"""The report as a notebook shows it, and as a script asks it whether to go on."""

from dataclasses import fields

from records.errors import NotProved
from validate.report import page
from validate.report.records import Report


class ShownReport(Report):
    """The report of a validation, which a notebook shows as its page."""

    @classmethod
    def of(cls, report: Report) -> "ShownReport":
        """Return the same report."""
        return cls(**{field.name: getattr(report, field.name) for field in fields(report)})

    def raise_for_failure(self) -> None:
        """Raise NotProved, with the rows that block, unless everything is proved."""
        if self.verdict == "pass":
            return
        blocking = [f"{result.name}: {result.reason}" for result in self.results if result.blocking]
        raise NotProved("\n".join([f"run {self.run}: {len(blocking)} rows do not pass", *blocking]))

    def _repr_html_(self) -> str:
        """Return the page in a frame of its own."""
        return page.frame(self)
