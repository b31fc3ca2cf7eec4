"""A pySigma backend for DuckDB over typed tables.

It knows the type of every column, so a text against a number is no error, a list column matches when any of
its elements does, and a null is neither equal nor unequal to anything. Correlations become true sliding
windows (`correlations.py`). It depends on nothing of Audit Lab but its neighbours in this folder:

>>> import polars as pl
>>> from sigma.collection import SigmaCollection
>>> rule = SigmaCollection.from_yaml('''
... title: Exec
... logsource: {product: kubernetes}
... detection: {selection: {verb: create, status: '101'}, condition: selection}
... ''')
>>> backend = DuckDBBackend(fields=fields_of({"verb": pl.String(), "status": pl.Int64()}), table="audit")
>>> backend.convert(rule)
['SELECT * FROM "audit" WHERE lower("verb") = \\'create\\' AND "status" = 101']
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, cast

from sigma.conditions import ConditionAND, ConditionFieldEqualsValueExpression, ConditionNOT, ConditionOR, ConditionValueExpression
from sigma.conversion.base import Backend
from sigma.conversion.state import ConversionState
from sigma.correlations import SigmaCorrelationRule, SigmaRuleReference
from sigma.exceptions import SigmaFeatureNotSupportedByBackendError
from sigma.processing.pipeline import ProcessingPipeline
from sigma.rule import SigmaRule
from sigma.types import (
    SigmaBool,
    SigmaCasedString,
    SigmaCIDRExpression,
    SigmaCompareExpression,
    SigmaExpansion,
    SigmaFieldReference,
    SigmaNumber,
    SigmaQueryExpression,
    SigmaRegularExpression,
    SigmaString,
    SigmaTimestampPart,
    SpecialChars,
)

from audit_lab.signals.sigma import leaves
from audit_lab.signals.sigma.correlations import compile_correlation
from audit_lab.signals.sigma.fields import Field, fields_of, identifier
from audit_lab.signals.sigma.leaves import FALSE, TRUE, join

__all__ = ["DuckDBBackend", "fields_of"]


class DuckDBBackend(Backend):
    """Turn Sigma rules into DuckDB SQL over one typed table.

    Parameters
    ----------
    processing_pipeline
        Pipeline of pySigma, e.g. a field mapping.
    collect_errors
        Collect errors of rules instead of raising them.
    fields
        Name of a Sigma field to its type and SQL. A field that is not here never has a value; the names met are
        kept in `unknown_fields`.
    table
        Table or view that holds the events.
    id_sql, time_sql
        SQL of an event's id and of its time in microseconds since 1970 (BIGINT).
    keyword_fields
        Fields that a search without a field name looks into; all text fields when None.
    """

    name: ClassVar[str] = "DuckDB backend for typed tables"
    formats: ClassVar[dict[str, str]] = {
        "default": "One SELECT per rule",
        "condition": "The bare SQL condition of each rule",
        "relevance": "Condition of the events that a rule looks at, whatever their bodies say",
    }
    correlation_methods: ClassVar[dict[str, str] | None] = {
        "default": "One row per episode: overlapping windows that qualify are one hit",
        "windows": "One row per window that qualifies, identified by its last event's time",
    }
    # The finished SELECTs are wanted only for the rules themselves: correlations take the bare conditions.
    finalize_correlation_subqueries = False

    def __init__(
        self,
        processing_pipeline: ProcessingPipeline | None = None,
        collect_errors: bool = False,
        *,
        fields: Mapping[str, Field],
        table: str = "events",
        id_sql: str = '"event_id"',
        time_sql: str = 'epoch_us("time")',
        keyword_fields: tuple[str, ...] | None = None,
    ) -> None:
        super().__init__(processing_pipeline, collect_errors)
        self.fields = dict(fields)
        self.table = table
        self.id_sql = id_sql
        self.time_sql = time_sql
        self.keyword_fields = keyword_fields or tuple(name for name, field in fields.items() if field.kind in ("text", "texts"))
        self.unknown_fields: set[str] = set()
        self.used_fields: set[str] = set()
        self._relevance = False
        self._negated = False

    # ---- conditions --------------------------------------------------------------------------------------

    def condition(self, rule: SigmaRule) -> str:
        """Return the SQL condition of a plain rule (its conditions joined by OR), FALSE when it can never hold."""
        return self._condition(rule, relevance=False)

    def relevance(self, rule: SigmaRule) -> str:
        """Return the condition of the events that the rule looks at, leaving out what only bodies can tell."""
        return self._condition(rule, relevance=True)

    def _condition(self, rule: SigmaRule, relevance: bool) -> str:
        self._relevance, self._negated = relevance, False
        try:
            parsed = [condition.parsed for condition in rule.detection.parsed_condition]
            return join([self.convert_condition(item, ConversionState()) for item in parsed], "OR")
        finally:
            self._relevance = False

    def convert_rule(
        self, rule: SigmaRule, output_format: str | None = None, callback: Callable[..., Any] | None = None
    ) -> list[Any]:
        """Convert one plain rule; see `pySigma`'s Backend."""
        self._relevance, self._negated = output_format == "relevance", False
        try:
            return super().convert_rule(rule, output_format, callback)
        finally:
            self._relevance = False

    def convert_condition_or(self, cond: ConditionOR, state: ConversionState) -> Any:
        """Join by OR."""
        return join([self.convert_condition(item, state) for item in cond.args], "OR")

    def convert_condition_and(self, cond: ConditionAND, state: ConversionState) -> Any:
        """Join by AND."""
        return join([self.convert_condition(item, state) for item in cond.args], "AND")

    def convert_condition_not(self, cond: ConditionNOT, state: ConversionState) -> Any:
        """Negate; a null comparison counts as false, so its negation holds, but where a field cannot be seen nothing holds."""
        self._negated = not self._negated
        try:
            inner = self.convert_condition(cond.args[0], state)
        finally:
            self._negated = not self._negated
        if inner is None:
            return None
        if inner in (TRUE, FALSE):
            return FALSE if inner == TRUE else TRUE
        return f"NOT COALESCE({inner}, FALSE)"

    def convert_condition_as_in_expression(self, cond: ConditionOR | ConditionAND, state: ConversionState) -> Any:
        """Never used: a list of values becomes a chain of comparisons, which DuckDB optimizes itself."""
        raise NotImplementedError

    # ---- comparisons -------------------------------------------------------------------------------------

    def _leaf(self, name: str, build: Callable[[Field], str], missing: str = FALSE, absent: bool = False) -> str:
        """Build one comparison; `absent`: it asks for no value."""
        field = self.fields.get(name)
        if field is None:
            self.unknown_fields.add(name)
            return missing
        self.used_fields.add(name)
        if self._relevance and field.available is not None:
            return FALSE if self._negated else TRUE
        return leaves.judged(build(field), field.available, self._negated, absent)

    def convert_condition_field_eq_val_str(self, cond: ConditionFieldEqualsValueExpression, state: ConversionState) -> Any:
        """Text, upper and lower case alike."""
        return self._leaf(cond.field, lambda field: leaves.text_leaf(field, cast(SigmaString, cond.value), cased=False))

    def convert_condition_field_eq_val_str_case_sensitive(
        self, cond: ConditionFieldEqualsValueExpression, state: ConversionState
    ) -> Any:
        """Text as written."""
        return self._leaf(cond.field, lambda field: leaves.text_leaf(field, cast(SigmaString, cond.value), cased=True))

    def convert_condition_field_eq_val_num(self, cond: ConditionFieldEqualsValueExpression, state: ConversionState) -> Any:
        """Number."""
        return self._leaf(cond.field, lambda field: leaves.number_leaf(field, cast(SigmaNumber, cond.value).number))

    def convert_condition_field_eq_val_bool(self, cond: ConditionFieldEqualsValueExpression, state: ConversionState) -> Any:
        """True or false."""
        return self._leaf(cond.field, lambda field: leaves.boolean_leaf(field, cast(SigmaBool, cond.value).boolean))

    def convert_condition_field_eq_val_re(self, cond: ConditionFieldEqualsValueExpression, state: ConversionState) -> Any:
        """Regular expression."""
        return self._leaf(cond.field, lambda field: leaves.regex_leaf(field, cast(SigmaRegularExpression, cond.value)))

    def convert_condition_field_eq_val_cidr(self, cond: ConditionFieldEqualsValueExpression, state: ConversionState) -> Any:
        """Network."""
        return self._leaf(cond.field, lambda field: leaves.cidr_leaf(field, cast(SigmaCIDRExpression, cond.value).network))

    def convert_condition_field_compare_op_val(self, cond: ConditionFieldEqualsValueExpression, state: ConversionState) -> Any:
        """Less, greater, different."""
        value = cast(SigmaCompareExpression, cond.value)
        return self._leaf(cond.field, lambda field: leaves.compare_leaf(field, value.op, value.number.number))

    def convert_condition_field_eq_val_timestamp_part(
        self, cond: ConditionFieldEqualsValueExpression, state: ConversionState
    ) -> Any:
        """Part of a time, UTC: minute, hour, day, week (ISO), month, year."""
        value = cast(SigmaTimestampPart, cond.value)
        return self._leaf(cond.field, lambda field: leaves.time_part_leaf(field, value.timestamp_part, value.number))

    def convert_condition_field_eq_field(self, cond: ConditionFieldEqualsValueExpression, state: ConversionState) -> Any:
        """Another field of the same event."""
        value = cast(SigmaFieldReference, cond.value)
        other = self.fields.get(value.field)
        if other is None:
            self.unknown_fields.add(value.field)
            return FALSE
        self.used_fields.add(value.field)
        if self._relevance and other.available is not None:
            return FALSE if self._negated else TRUE
        leaf = self._leaf(cond.field, lambda field: leaves.reference_leaf(field, other, value.starts_with, value.ends_with))
        return leaves.judged(leaf, other.available, self._negated)

    def convert_condition_field_eq_val_null(self, cond: ConditionFieldEqualsValueExpression, state: ConversionState) -> Any:
        """No value."""
        return self._leaf(cond.field, lambda field: f"NOT COALESCE({leaves.exists_leaf(field)}, FALSE)", TRUE, absent=True)

    def convert_condition_field_exists(self, cond: ConditionFieldEqualsValueExpression, state: ConversionState) -> Any:
        """Some value."""
        return self._leaf(cond.field, leaves.exists_leaf)

    def convert_condition_field_not_exists(self, cond: ConditionFieldEqualsValueExpression, state: ConversionState) -> Any:
        """No value."""
        return self.convert_condition_field_eq_val_null(cond, state)

    def convert_condition_field_eq_query_expr(self, cond: ConditionFieldEqualsValueExpression, state: ConversionState) -> Any:
        """Refused: ready-made query parts would bypass the quoting."""
        raise SigmaFeatureNotSupportedByBackendError("query expressions are not supported")

    # ---- searches without a field ------------------------------------------------------------------------

    def _keyword(self, build: Callable[[Field], str]) -> str:
        return join([self._leaf(name, build) for name in self.keyword_fields], "OR")

    def convert_condition_val(self, cond: ConditionValueExpression, state: ConversionState) -> Any:
        """Value without a field: a text, number or regular expression, or several of them as one value expands to."""
        if isinstance(cond.value, SigmaExpansion):
            return self.convert_condition_or(ConditionOR([ConditionValueExpression(value) for value in cond.value.values]), state)
        if not isinstance(cond.value, SigmaString | SigmaNumber | SigmaRegularExpression | SigmaQueryExpression):
            raise SigmaFeatureNotSupportedByBackendError(f"a search without a field for {type(cond.value).__name__} is not supported")
        return super().convert_condition_val(cond, state)

    def convert_condition_val_str(self, cond: ConditionValueExpression, state: ConversionState) -> Any:
        """Text anywhere in the text fields."""
        multi = SpecialChars.WILDCARD_MULTI
        inside = multi + cast(SigmaString, cond.value) + multi
        cased = isinstance(cond.value, SigmaCasedString)
        return self._keyword(lambda field: leaves.text_leaf(field, inside, cased))

    def convert_condition_val_num(self, cond: ConditionValueExpression, state: ConversionState) -> Any:
        """Number anywhere in the text fields."""
        inside = SigmaString(f"*{cast(SigmaNumber, cond.value).number}*")
        return self._keyword(lambda field: leaves.text_leaf(field, inside, cased=False))

    def convert_condition_val_re(self, cond: ConditionValueExpression, state: ConversionState) -> Any:
        """Regular expression anywhere in the text fields."""
        return self._keyword(lambda field: leaves.regex_leaf(field, cast(SigmaRegularExpression, cond.value)))

    def convert_condition_query_expr(self, cond: ConditionValueExpression, state: ConversionState) -> Any:
        """Refused: ready-made query parts would bypass the quoting."""
        raise SigmaFeatureNotSupportedByBackendError("query expressions are not supported")

    # ---- correlations ------------------------------------------------------------------------------------

    def _correlation(self, rule: SigmaCorrelationRule, output_format: str | None = None, method: str = "default") -> list[Any]:
        """Convert one correlation rule to one SELECT; its columns are told in `correlations.compile_correlation`."""
        return [compile_correlation(rule, self.fields, self._matches, self.id_sql, self.time_sql, windows=method == "windows")]

    convert_correlation_event_count_rule = _correlation
    convert_correlation_value_count_rule = _correlation
    convert_correlation_value_sum_rule = _correlation
    convert_correlation_value_avg_rule = _correlation
    convert_correlation_value_median_rule = _correlation
    convert_correlation_value_percentile_rule = _correlation
    convert_correlation_temporal_rule = _correlation
    convert_correlation_temporal_ordered_rule = _correlation
    convert_correlation_extended_temporal_rule = _correlation
    convert_correlation_extended_temporal_ordered_rule = _correlation

    def _matches(self, reference: SigmaRuleReference) -> str:
        conditions = cast(SigmaRule, reference.rule).get_conversion_result()
        return f"SELECT * FROM {identifier(self.table)} WHERE {join([str(item) for item in conditions], 'OR')}"

    # ---- finishing ---------------------------------------------------------------------------------------

    def finalize_query_default(self, rule: Any, query: Any, index: int, state: ConversionState) -> Any:
        """Return one SELECT."""
        if isinstance(rule, SigmaCorrelationRule):
            return query
        return f"SELECT * FROM {identifier(self.table)} WHERE {query}"

    def finalize_query_condition(self, rule: Any, query: Any, index: int, state: ConversionState) -> Any:
        """Return the bare condition."""
        return query

    finalize_query_relevance = finalize_query_condition

    def finalize_output_condition(self, queries: list[Any]) -> list[Any]:
        """Return the conditions."""
        return queries

    finalize_output_relevance = finalize_output_condition
