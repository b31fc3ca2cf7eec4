"""Sigma correlations as true sliding windows, in SQL.

Every correlation becomes a chain of small SELECTs over the matches of the rules that it names:

1. *input*: one row per match, with the group it belongs to; a match without a group value takes no part,
   upper and lower case are the same group, a list puts its event into the group of each element;
2. *windows*: one row per qualifying window. A window of a count or a value ends at an event and reaches
   back over `timespan`, both ends included. A chain (`temporal_ordered`) ends at an event of its last rule and
   takes, going back, the latest earlier event of each rule before it: if any chain fits into the time span this one
   does, and an old first event never hides a young one. Equal times are in no order;
3. *episodes*: windows that overlap are one hit, so that a burst of ten thousand events is one row that holds them all;
4. *evidence* (`evidence.py`): the events of each hit, down through the correlations that it builds on.

All of it is linear in matches and answers, apart from sorting: a million events of one group are no trap.

Time is in microseconds, as a BIGINT. The same chain serves the standalone backend (matches from the table) and
`engine.py` (matches from its table of hits).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sigma.correlations import SigmaCorrelationRule, SigmaCorrelationType, SigmaRuleReference
from sigma.exceptions import SigmaCorrelationRuleError, SigmaFeatureNotSupportedByBackendError

from audit_lab.signals.sigma.evidence import inside, resolved
from audit_lab.signals.sigma.fields import Field
from audit_lab.signals.sigma.thresholds import aggregate, clauses, enough, extreme, length, numeric, qualifies

Matches = Callable[[SigmaRuleReference], str]


def compile_correlation(
    rule: SigmaCorrelationRule, fields: Mapping[str, Field], matches: Matches, id_sql: str, time_sql: str, windows: bool = False
) -> str:
    """Return one SELECT that finds the hits of a correlation rule.

    Parameters
    ----------
    rule
        A resolved correlation rule whose field names are those of `fields`.
    matches
        Gives, for a reference to a plain rule, a SELECT of the events (all columns) that match it.
    id_sql, time_sql
        SQL of an event's id and of its time in microseconds.
    windows
        One row per window that qualifies, instead of one per episode.

    Returns
    -------
    str
        SELECT with the columns `group_values` (VARCHAR[], in the order of group-by), `start_us`, `end_us`, `metric`
        (the count or value, at its most extreme), `n_windows`, `event_ids` (in order of time, each once), `last_event_id`.
    """
    compiler = _Compiler(fields, matches, id_sql, time_sql)
    hits = compiler.node(rule, windows)
    evidence = compiler.evidence(rule)
    groups = len(rule.group_by or [])
    values = ", ".join(f"CAST(w.g{i} AS VARCHAR)" for i in range(groups))
    order = "e.ts, e.id"
    stages = ",\n".join(f"{name} AS MATERIALIZED ({select})" for name, select in compiler.stages)
    return (
        f"WITH {stages}\n"
        f"SELECT [{values}]::VARCHAR[] AS group_values, w.start_us, w.end_us, w.metric, w.n_windows, "
        f"list(e.id ORDER BY {order}) AS event_ids, last(e.id ORDER BY {order}) AS last_event_id "
        f"FROM {hits} w JOIN {evidence} e ON e.hit = w.hit "
        f"GROUP BY ALL ORDER BY w.end_us, w.start_us, group_values"
    )


class _Compiler:
    """Collects the stages of one correlation and of those it is built on."""

    def __init__(self, fields: Mapping[str, Field], matches: Matches, id_sql: str, time_sql: str) -> None:
        self.fields, self.matches = fields, matches
        self.id_sql, self.time_sql = id_sql, time_sql
        self.stages: list[tuple[str, str]] = []
        self.nodes: dict[int, str] = {}
        self.open: set[int] = set()

    def add(self, name: str, select: str) -> str:
        self.stages.append((name, select))
        return name

    def node(self, rule: SigmaCorrelationRule, windows: bool) -> str:
        """Compile one correlation; return the stage (hit, g0…, start_us, end_us, metric, n_windows; episode when `windows`)."""
        if id(rule) in self.open:
            raise SigmaCorrelationRuleError("the correlation refers to itself", source=rule.source)
        self.open.add(id(rule))
        stem = f"c{len(self.nodes)}"
        self.nodes[id(rule)] = stem
        self._input(rule, stem)
        ordered = rule.type == SigmaCorrelationType.TEMPORAL_ORDERED
        found = self._chains(rule, stem, windows) if ordered else self._windows(rule, stem, windows)
        self.open.remove(id(rule))
        return found

    # ---- 1. input ----------------------------------------------------------------------------------------

    def _input(self, rule: SigmaCorrelationRule, stem: str) -> None:
        group = list(rule.group_by or [])
        stated = getattr(rule.condition, "fieldref", None)
        values = [stated] if isinstance(stated, str) else list(stated or [])
        if len(values) > 1 and rule.type != SigmaCorrelationType.VALUE_COUNT:
            raise SigmaFeatureNotSupportedByBackendError("only 'value_count' goes over several value fields")
        # The hits of a correlation have ids of their own kind: then all ids are texts.
        mixed = any(isinstance(reference.rule, SigmaCorrelationRule) for reference in rule.referenced_rules)
        branches = [
            self._branch(reference, slot, [_aliased(rule, reference, name) for name in group],
                         [_aliased(rule, reference, name) for name in values], numeric(rule), mixed)
            for slot, reference in enumerate(rule.referenced_rules)
        ]
        guard = " AND ".join(["ts IS NOT NULL", *(f"g{i} IS NOT NULL" for i in range(len(group)))])
        found = f"SELECT * FROM ({' UNION ALL '.join(branches)}) WHERE {guard}"
        least = enough(rule)
        if least is None:
            self.add(f"{stem}_input", found)
            return
        # Most groups never come near the condition: leave them out before anything is sorted.
        everything = self.add(f"{stem}_all", found)
        keys = ", ".join(f"g{i}" for i in range(len(group))) or "TRUE AS everybody"
        by = " GROUP BY ALL" if group else ""
        near = f"SELECT {keys} FROM {everything}{by} HAVING {least}"
        match = f"SEMI JOIN ({near}) near USING ({keys})" if group else f"WHERE EXISTS ({near})"
        self.add(f"{stem}_input", f"SELECT * FROM {everything} {match}")

    def _branch(self, reference: SigmaRuleReference, slot: int, group: list[str], values: list[str], numeric: bool, mixed: bool) -> str:
        if isinstance(reference.rule, SigmaCorrelationRule):
            return self._child(reference.rule, slot, group, values)
        columns, unnests = [], []
        for i, name in enumerate(group):
            field = self._field(name)
            if field.kind == "texts":
                unnests.append(f", unnest(list_distinct(list_transform({field.sql}, lambda x: lower(x)))) AS u{i}(x)")
                columns.append(f"u{i}.x AS g{i}")
            else:
                columns.append(f"{_group_key(field)} AS g{i}")
        columns += [f"{self._value(values, numeric)} AS v", "NULL::BIGINT AS episode"]
        own_id = f"CAST({self.id_sql} AS VARCHAR)" if mixed else self.id_sql
        return (
            f"SELECT {own_id} AS id, CAST({self.time_sql} AS BIGINT) AS ts, {slot} AS slot, {', '.join(columns)} "
            f"FROM ({self.matches(reference)}) AS events_{slot}{''.join(unnests)}"
        )

    def _child(self, rule: SigmaCorrelationRule, slot: int, group: list[str], values: list[str]) -> str:
        """Hits of a correlation as input of another: each counts once, at the end of its window."""
        hits = self.node(rule, windows=True)
        own = {name: f"g{i}" for i, name in enumerate(rule.group_by or [])}
        missing = [name for name in group if name not in own]
        if missing:
            raise SigmaFeatureNotSupportedByBackendError(
                f"group-by field '{missing[0]}' is not among those of the correlation '{rule.name or rule.title}'"
            )
        lacking = [name for name in values if name not in own]
        if lacking:
            raise SigmaFeatureNotSupportedByBackendError(f"a correlation has no value '{lacking[0]}'")
        columns = [f"{own[name]} AS g{i}" for i, name in enumerate(group)]
        columns.append(f"{_together([own[name] for name in values])} AS v")
        return f"SELECT '{hits}:' || hit AS id, end_us AS ts, {slot} AS slot, {', '.join(columns)}, episode FROM {hits}"

    def _field(self, name: str) -> Field:
        if name not in self.fields:
            raise SigmaFeatureNotSupportedByBackendError(f"field '{name}' does not exist in the table")
        return self.fields[name]

    def _value(self, names: list[str], numeric: bool) -> str:
        fields = [self._field(name) for name in names]
        if numeric:
            return f"TRY_CAST({fields[0].sql} AS DOUBLE)" if fields else "NULL"
        return _together([f"array_to_string({field.sql}, chr(31))" if field.kind == "texts" else _group_key(field) for field in fields])

    # ---- 2. windows that end at an event -----------------------------------------------------------------

    def _windows(self, rule: SigmaCorrelationRule, stem: str, windows: bool) -> str:
        count, span = len(rule.group_by or []), rule.timespan.seconds * 1_000_000
        gs = "".join(f"g{i}, " for i in range(count))
        partition = f"PARTITION BY {gs[:-2]} " if count else ""
        frame = f"{partition}ORDER BY ts RANGE BETWEEN {span} PRECEDING AND CURRENT ROW"
        so_far = f"{partition}ORDER BY ts RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW"
        source = f"{stem}_input"
        if rule.type == SigmaCorrelationType.TEMPORAL:
            slots = len(rule.referenced_rules)
            seen = ", ".join(f"max(ts) FILTER (slot = {s}) OVER ({so_far}) >= ts - {span} AS p{s}" for s in range(slots))
            present = self.add(f"{stem}_present", f"SELECT DISTINCT {gs}ts, {seen} FROM {source}")
            metric = " + ".join(f"COALESCE(p{s}, FALSE)::INTEGER" for s in range(slots))
            measured = f"SELECT *, {metric} AS metric FROM {present}"
        else:
            measure, column = aggregate(rule)
            # One event that matches two of the rules is one event.
            one = f"SELECT DISTINCT id, ts, {gs}{column} FROM {source}"
            measured = f"SELECT DISTINCT {gs}ts, {measure} OVER ({frame}) AS metric FROM ({one})"
        found = self.add(
            f"{stem}_windows", f"SELECT {gs}ts - {span} AS start_us, ts AS end_us, metric FROM ({measured}) WHERE {qualifies(rule)}"
        )
        return self._episodes(rule, stem, found, gs, count, windows)

    def _episodes(self, rule: SigmaCorrelationRule, stem: str, found: str, gs: str, count: int, windows: bool) -> str:
        """3. Number the windows, or merge those that overlap; windows that overlap are of one episode, named by its start."""
        group = f"PARTITION BY {gs[:-2]} " if count else ""
        fresh = f"SELECT *, start_us > COALESCE(lag(end_us) OVER ({group}ORDER BY end_us), start_us - 1) AS fresh FROM {found}"
        numbered = f"SELECT *, max(start_us) FILTER (fresh) OVER ({group}ORDER BY end_us) AS episode FROM ({fresh})"
        if windows:
            number = f"row_number() OVER (ORDER BY {gs}end_us)"
            select = f"SELECT {number} AS hit, {gs}start_us, end_us, metric, 1 AS n_windows, episode FROM ({numbered})"
        else:
            select = (
                f"SELECT row_number() OVER (ORDER BY {gs}episode) AS hit, {gs}min(start_us) AS start_us, max(end_us) AS end_us, "
                f"{extreme(rule)}(metric) AS metric, count(*) AS n_windows FROM ({numbered}) GROUP BY {gs}episode"
            )
        return self.add(f"{stem}_hits", select)

    # ---- 2. chains ---------------------------------------------------------------------------------------

    def _chains(self, rule: SigmaCorrelationRule, stem: str, windows: bool) -> str:
        count, span = len(rule.group_by or []), rule.timespan.seconds * 1_000_000
        gs = "".join(f"g{i}, " for i in range(count))
        ways = clauses(rule)
        widest = max(len(slots) for slots in ways)
        found = []
        for number, slots in enumerate(ways):
            last = len(slots) - 1
            by = f"GROUP BY {gs}ts"
            current = f"SELECT {gs}ts AS t{last}, min(episode) AS e{last} FROM {stem}_input WHERE slot = {slots[last]} {by}"
            for place in range(last - 1, -1, -1):
                step = self.add(f"{stem}_k{number}_{place + 1}", current)
                same = "".join(f"a.g{i} = b.g{i} AND " for i in range(count))
                times = ", ".join(f"a.t{later}, a.e{later}" for later in range(place + 1, last + 1))
                own = "".join(f"a.g{i}, " for i in range(count))
                current = (
                    f"SELECT {own}b.ts AS t{place}, b.episode AS e{place}, {times} FROM {step} a ASOF JOIN "
                    f"(SELECT {gs}ts, min(episode) AS episode FROM {stem}_input WHERE slot = {slots[place]} {by}) b "
                    f"ON {same}a.t{place + 1} > b.ts"
                )
            fill = "".join(f", NULL::BIGINT AS t{place}, NULL::BIGINT AS e{place}" for place in range(last + 1, widest))
            found.append(f"SELECT {gs}{number} AS clause, {', '.join(f't{p}, e{p}' for p in range(last + 1))}{fill}, t{last} AS end_us "
                         f"FROM ({current}) WHERE t{last} - t0 <= {span}")
        chains = self.add(f"{stem}_chains", " UNION ALL ".join(found))
        # Chains that share all but their last event are one hit, unless each window was asked for; for a correlation
        # below, sharing its episode is enough: a long burst before an event is one beginning, not a thousand.
        heads = "".join(f", CASE WHEN clause IN ({', '.join(str(n) for n, s in enumerate(ways) if len(s) - 1 > p) or '-1'}) "
                        f"THEN COALESCE(e{p}, t{p}) END AS h{p}" for p in range(widest - 1))
        key = ", end_us" if windows else ""
        heads_key = "".join(f", h{p}" for p in range(widest - 1))
        members = self.add(f"{stem}_members", (
            f"SELECT dense_rank() OVER (ORDER BY {gs}clause{heads_key}{key}) AS hit, * FROM (SELECT *{heads} FROM {chains})"
        ))
        hits = self.add(f"{stem}_hits", (
            f"SELECT hit, {gs}min(t0) AS start_us, max(end_us) AS end_us, {length(ways)} AS metric, count(*) AS n_windows, "
            f"min(t0) AS episode FROM {members} GROUP BY hit, {gs}clause"
        ))
        same = "".join(f"m.g{i} = w.g{i} AND " for i in range(count))
        links = " UNION ".join(
            f"SELECT w.hit, m.id, m.ts FROM {members} w JOIN {stem}_input m "
            f"ON {same}w.clause = {number} AND m.slot = {slot} AND m.ts = w.t{place}"
            for number, slots in enumerate(ways) for place, slot in enumerate(slots)
        )
        self.add(f"{stem}_links", links)
        return hits

    # ---- 4. evidence -------------------------------------------------------------------------------------

    def evidence(self, rule: SigmaCorrelationRule) -> str:
        """Return the stage (hit, id, ts) that lists the events of the hits, each once."""
        stem = self.nodes[id(rule)]
        ordered = rule.type == SigmaCorrelationType.TEMPORAL_ORDERED
        direct = f"{stem}_links" if ordered else inside(self.add, rule, stem, f"SELECT * FROM {stem}_hits", f"{stem}_direct")
        return resolved(self.add, self.nodes, rule, direct)


def _aliased(rule: SigmaCorrelationRule, reference: SigmaRuleReference, name: str) -> str:
    known = {reference.reference, reference.rule.name, str(reference.rule.id)}
    for alias in rule.aliases:
        if alias.alias == name:
            for target, field in alias.mapping.items():
                if target.reference in known:
                    return field
            raise SigmaCorrelationRuleError(f"alias '{name}' names no field for rule '{reference.reference}'", source=rule.source)
    return name


def _group_key(field: Field) -> str:
    return f"lower(CAST({field.sql} AS VARCHAR))" if field.kind == "text" else f"CAST({field.sql} AS VARCHAR)"


def _together(values: list[str]) -> str:
    """Return several values as one, null where any is missing."""
    if len(values) < 2:
        return values[0] if values else "NULL"
    return f"CASE WHEN {' AND '.join(f'{value} IS NOT NULL' for value in values)} THEN concat_ws(chr(30), {', '.join(values)}) END"
