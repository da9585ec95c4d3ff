-- The reads that are more than a select: history in pages, aggregates, arrivals, and what `recarga verify` asks.

-- Recharges and boardings of a card, newest first. To go on, pass the last row's (occurred_at, kind, id).
-- Amounts are signed: a recharge adds, a fare takes.
create function travel.card_history(
    p_card_id bigint, p_limit integer,
    p_before_at timestamptz default null, p_before_kind text default null, p_before_id bigint default null
) returns table (
    kind text, id bigint, occurred_at timestamptz, amount bigint, balance_after bigint,
    recharge_point_id bigint, route_id bigint, station_id bigint, transfer boolean, ended_at timestamptz
) language sql stable parallel safe rows 20 as $$
    (select 'trip', t.id, t.boarded_at, -t.fare, t.balance_after,
            null::bigint, t.route_id, t.station_id, t.transfer, t.ended_at
        from travel.trips t
        where t.card_id = p_card_id and t.boarded_at <= coalesce(p_before_at, 'infinity')
          and (p_before_at is null or (t.boarded_at, 'trip'::text, t.id) < (p_before_at, p_before_kind, p_before_id))
        order by t.boarded_at desc, t.id desc limit p_limit)
    union all
    (select 'recharge', r.id, r.created_at, r.amount, r.balance_after,
            r.recharge_point_id, null, null, null, null
        from travel.recharges r
        where r.card_id = p_card_id and r.created_at <= coalesce(p_before_at, 'infinity')
          and (p_before_at is null or (r.created_at, 'recharge'::text, r.id) < (p_before_at, p_before_kind, p_before_id))
        order by r.created_at desc, r.id desc limit p_limit)
    order by 3 desc, 1 desc, 2 desc limit p_limit
$$;

-- Aggregates over all trips. A trip belongs to the locality where it began. -------------------------------------------

create function travel.trips_total() returns bigint language sql stable parallel safe as $$
    select count(*) from travel.trips
$$;

create function travel.trips_by_locality() returns table (locality_id bigint, locality text, total_trips bigint)
language sql stable parallel safe rows 20 as $$
    select l.id, l.name, coalesce(sum(s.trips), 0)::bigint
    from travel.localities l
    left join (
        -- Grouped by station first: the join then sees a few hundred rows, not all trips.
        select st.locality_id, t.trips from travel.stations st
        join (select t.station_id, count(*) as trips from travel.trips t group by t.station_id) t on t.station_id = st.id
    ) s on s.locality_id = l.id
    group by l.id, l.name order by l.id
$$;

create function travel.revenue_total() returns bigint language sql stable parallel safe as $$
    select coalesce(sum(t.fare), 0)::bigint from travel.trips t
$$;

create function travel.revenue_by_locality() returns table (locality_id bigint, locality text, total_revenue bigint)
language sql stable parallel safe rows 20 as $$
    select l.id, l.name, coalesce(sum(s.revenue), 0)::bigint
    from travel.localities l
    left join (
        select st.locality_id, t.revenue from travel.stations st
        join (select t.station_id, sum(t.fare) as revenue from travel.trips t group by t.station_id) t on t.station_id = st.id
    ) s on s.locality_id = l.id
    group by l.id, l.name order by l.id
$$;

-- The timetable ------------------------------------------------------------------------------------------------------

-- The next vehicles at a station, soonest first, in both directions, from the routes' headways. Departures are Bogotá time;
-- yesterday's last vehicles may still be on the road after midnight.
create function travel.arrivals(p_station_id bigint, p_now timestamptz, p_limit integer)
returns table (
    route_id bigint, route_code text, route_name text, destination text, arrives_at timestamptz, minutes integer
) language sql stable parallel safe rows 10 as $$
    with directions as (
        select r.id, r.code, r.name, r.headway_minutes, r.first_departure,
               floor(extract(epoch from r.last_departure - r.first_departure) / 60 / r.headway_minutes)::integer as last_run,
               way.destination_id, make_interval(mins => way.minutes_in) as minutes_in
        from travel.route_stations here
        join travel.routes r on r.id = here.route_id
        cross join lateral (
            select rs.station_id, rs.offset_minutes from travel.route_stations rs
            where rs.route_id = r.id order by rs.position limit 1) origin
        cross join lateral (
            select rs.station_id, rs.offset_minutes from travel.route_stations rs
            where rs.route_id = r.id order by rs.position desc limit 1) terminus
        cross join lateral (values
            (terminus.station_id, here.offset_minutes),
            (origin.station_id, terminus.offset_minutes - here.offset_minutes)) way (destination_id, minutes_in)
        -- What ends here takes nobody on.
        where here.station_id = p_station_id and way.destination_id <> p_station_id
    ), runs as (
        select d.*, (day.day::date + d.first_departure) at time zone 'America/Bogota' + d.minutes_in as first_here
        from directions d
        cross join generate_series(-1, 1) as shift
        cross join lateral (select (p_now at time zone 'America/Bogota')::date + shift as day) day
    )
    select u.id, u.code, u.name, s.name, at.arrives_at,
           floor(extract(epoch from at.arrives_at - p_now) / 60)::integer
    from runs u
    join travel.stations s on s.id = u.destination_id
    cross join lateral (
        select greatest(0, ceil(extract(epoch from p_now - u.first_here) / 60 / u.headway_minutes)::integer) as first) next
    cross join lateral generate_series(next.first, least(u.last_run, next.first + p_limit - 1)) as run (number)
    cross join lateral (select u.first_here + make_interval(mins => run.number * u.headway_minutes) as arrives_at) at
    order by at.arrives_at, u.code, s.name
    limit p_limit
$$;

-- What must always hold: every function here is expected to come back empty, the sum to be zero -------------------------

create view travel.account_balances as
    select a.id as account_id, a.kind, a.card_id,
           coalesce(c.total, 0)::bigint - coalesce(d.total, 0)::bigint as balance
    from travel.accounts a
    left join (select credit_account, sum(amount) as total from travel.ledger_entries group by 1) c on c.credit_account = a.id
    left join (select debit_account, sum(amount) as total from travel.ledger_entries group by 1) d on d.debit_account = a.id;

create function travel.ledger_sum() returns bigint language sql stable as $$
    select coalesce(sum(b.balance), 0)::bigint from travel.account_balances b
$$;

-- Cards whose balance is not opening + recharges - fares, by their own records or by the ledger.
create function travel.card_discrepancies()
returns table (card_id bigint, balance bigint, expected_balance bigint, ledger_balance bigint) language sql stable as $$
    select c.id, c.balance, e.expected, b.balance
    from travel.cards c
    left join (select r.card_id, sum(r.amount) as total from travel.recharges r group by 1) r on r.card_id = c.id
    left join (select t.card_id, sum(t.fare) as total from travel.trips t group by 1) t on t.card_id = c.id
    left join travel.account_balances b on b.card_id = c.id
    cross join lateral (select (c.opening_balance + coalesce(r.total, 0) - coalesce(t.total, 0))::bigint as expected) e
    where c.balance <> e.expected or b.balance is distinct from c.balance
    order by c.id
$$;

-- Recharges and paid trips without their ledger row of the same card and amount, and ledger rows without theirs.
create function travel.ledger_discrepancies() returns table (kind text, reference bigint) language sql stable as $$
    select coalesce(m.kind, l.kind), coalesce(m.id, l.reference)
    from (
        select 'recharge' as kind, r.id, r.card_id, r.amount from travel.recharges r
        union all
        select 'fare', t.id, t.card_id, t.fare from travel.trips t where t.fare > 0
        union all
        select 'opening', c.id, c.id, c.opening_balance from travel.cards c where c.opening_balance > 0
    ) m
    full join (
        select e.kind, e.reference, e.amount, a.card_id
        from travel.ledger_entries e join travel.accounts a on a.id = e.card_account
    ) l on l.kind = m.kind and l.reference = m.id
    where m.id is null or l.reference is null or m.amount <> l.amount or m.card_id <> l.card_id
    order by 1, 2
$$;

-- Pairs of one tutor's bookings that overlap.
create function tutoring.overlapping_bookings() returns table (tutor_id bigint, booking_id bigint, other_id bigint)
language sql stable as $$
    select a.tutor_id, a.id, b.id from tutoring.bookings a
    join tutoring.bookings b on b.tutor_id = a.tutor_id and b.id > a.id
        and tstzrange(a.starts_at, a.ends_at) && tstzrange(b.starts_at, b.ends_at)
    order by 1, 2, 3
$$;
