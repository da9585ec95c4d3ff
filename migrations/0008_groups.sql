-- Writes in groups: many recharges or boardings in one call, one transaction, one flush of the log. Each comes to what
-- travel.recharge and travel.board make of it alone, one after the other; a property test in services/travel holds them to it.
-- Those two stay for a group of one, where they cost half.
--
-- Items are given as arrays of equal length and answered one row each, in their order. They take effect in that order: the
-- second recharge of a card starts from the balance that the first one left. One item that cannot be done (an unknown card, a
-- key used before) does not touch the others; an error ends the whole call, and the caller then tries fewer of them.
--
-- Locks are taken in one order everywhere: keys (never waited for), then cards by id, then users (never waited for). So
-- no two groups wait for each other. Look-ups are LATERAL with LIMIT 1 and joins other than nested loops are off: groups are
-- small, tables are large, and the plan must not depend on statistics of a moment ago.
--
-- p_wait says what happens to an item whose card is locked by somebody else: wait for a quarter of a second and fail with all
-- others, or answer busy (nothing is kept) and do the others.

-- Room on each page for the next version of a row: a new balance then leaves the indexes alone.
alter table travel.cards set (fillfactor = 80);

-- As before, with the lock that groups take, and with the answer of a key that is done also while somebody else asks for it.
create or replace function travel.claimed(p_caller text, p_route text, p_key text, p_body_hash bytea)
returns table (outcome text, reply jsonb, replayed boolean) language plpgsql as $$
declare
    v_free boolean := pg_try_advisory_xact_lock(
        hashtextextended(p_key, hashtextextended(p_caller, hashtextextended(p_route, 0))));
    v_claim travel.idempotency_claims;
begin
    select * into v_claim from travel.idempotency_claims c
        where c.caller = p_caller and c.route = p_route and c.key = p_key;
    if not found then
        if not v_free then
            return query select 'in_progress', '{}'::jsonb, false;
        end if;
    elsif v_claim.body_hash is distinct from p_body_hash then
        return query select 'key_reused', '{}'::jsonb, false;
    else
        return query select v_claim.outcome, v_claim.reply, true;
    end if;
end $$;

-- What the keys of a group say: outcomes of those that are answered already (null: go on), and for those that repeat
-- the key of an earlier item of the group, which one that is.
create function travel.claim_many(
    p_route text, p_callers text[], p_keys text[], p_body_hashes bytea[],
    out outcomes text[], out replies jsonb[], out leaders integer[]
) language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    v_free boolean[];
begin
    select array_agg(s.leader), array_agg(s.free) into leaders, v_free
    from (
        select i.n, pg_try_advisory_xact_lock(i.lock) as free,
               case when i.lock is not null then nullif(min(i.n) over (partition by i.lock), i.n) end as leader
        from (
            select u.n::integer, hashtextextended(u.key, hashtextextended(u.caller, hashtextextended(p_route, 0))) as lock
            from unnest(p_callers, p_keys) with ordinality u (caller, key, n)
        ) i
        order by i.n
    ) s;
    -- A later statement: it sees what was committed by whoever had the lock before.
    select array_agg(s.outcome), array_agg(s.reply) into outcomes, replies
    from (
        select case when c.body_hash = u.body_hash then c.outcome
                    when c.body_hash is not null then 'key_reused'
                    when not u.free then 'in_progress' end as outcome,
               case when c.body_hash = u.body_hash then c.reply end as reply
        from unnest(p_callers, p_keys, p_body_hashes, v_free) with ordinality u (caller, key, body_hash, free, n)
        left join lateral (
            select c.body_hash, c.outcome, c.reply from travel.idempotency_claims c
            where c.caller = u.caller and c.route = p_route and c.key = u.key limit 1) c on true
        order by u.n
    ) s;
end $$;

-- The answers of a group: what was known before, what was done now, and for a key that was there twice what it came to the
-- first time.
create function travel.answer_many(
    p_callers text[], p_keys text[], p_body_hashes bytea[],
    p_known text[], p_replies jsonb[], p_leaders integer[], p_outcomes text[], p_made jsonb[]
) returns table (outcome text, reply jsonb, replayed boolean) language plpgsql stable
set plan_cache_mode = force_generic_plan as $$
#variable_conflict use_column
begin
    return query
    with answer as (
        select u.n, case
                   when u.known is not null then u.known
                   when u.leader is null or p_outcomes[u.leader] = 'busy' then coalesce(u.outcome, 'busy')
                   -- Another key of the same hash: as if somebody else had the lock.
                   when p_keys[u.leader] <> u.key or p_callers[u.leader] <> u.caller then 'in_progress'
                   when p_body_hashes[u.leader] <> u.body_hash then 'key_reused'
                   else p_outcomes[u.leader] end as outcome,
               case when u.known is not null then u.reply
                    when u.leader is null then u.made
                    else p_made[u.leader] end as reply,
               u.known is not null or u.leader is not null as earlier
        from unnest(p_callers, p_keys, p_body_hashes, p_known, p_replies, p_leaders, p_outcomes, p_made)
            with ordinality u (caller, key, body_hash, known, reply, leader, outcome, made, n)
    )
    select a.outcome,
           case when a.outcome in ('key_reused', 'in_progress') then '{}' else a.reply end,
           a.earlier and a.outcome not in ('key_reused', 'in_progress', 'busy')
    from answer a order by a.n;
end $$;

-- created | card_not_found | card_blocked | point_not_found | busy
create function travel.recharge_many(
    p_callers text[], p_keys text[], p_body_hashes bytea[],
    p_card_ids bigint[], p_amounts bigint[], p_recharge_point_ids bigint[], p_wait boolean default true
) returns table (outcome text, reply jsonb, replayed boolean)
language plpgsql
set plan_cache_mode = force_generic_plan set enable_hashjoin = off set enable_mergejoin = off set enable_seqscan = off
set lock_timeout = '250ms'
as $$
#variable_conflict use_column
declare
    v_known text[];
    v_replies jsonb[];
    v_leaders integer[];
    v_cards bigint[];
    v_locked bigint[];
    v_now timestamptz;
    v_at text;
    v_outcomes text[];
    v_made jsonb[];
begin
    if cardinality(array_remove(p_keys, null)) > 0 then
        select c.outcomes, c.replies, c.leaders into v_known, v_replies, v_leaders
            from travel.claim_many('recharge', p_callers, p_keys, p_body_hashes) c;
    end if;

    v_cards := array(select u.card from unnest(p_card_ids, v_known, v_leaders) u (card, known, leader)
        where u.known is null and u.leader is null);
    if p_wait then
        perform from travel.cards c where c.id = any(v_cards) order by c.id for no key update;
        v_locked := v_cards;
    else
        v_locked := array(select c.id from travel.cards c where c.id = any(v_cards)
            order by c.id for no key update skip locked);
    end if;
    -- After the locks, so that times on one card follow the order of its balances.
    v_now := clock_timestamp();
    v_at := travel.rfc3339(v_now);

    with item as (
        select u.n, u.caller, u.key, u.body_hash, u.card_id, u.amount, u.point_id, c.user_id, c.balance, a.id as account,
               case when u.known is not null or u.leader is not null then null
                    when c.id is null then 'card_not_found'
                    when not (u.card_id = any(v_locked)) then 'busy'
                    when c.status <> 'active' then 'card_blocked'
                    when u.point_id is not null and p.id is null then 'point_not_found'
                    else 'created' end as outcome
        from unnest(p_callers, p_keys, p_body_hashes, p_card_ids, p_amounts, p_recharge_point_ids, v_known, v_leaders)
            with ordinality u (caller, key, body_hash, card_id, amount, point_id, known, leader, n)
        left join lateral (select c.id, c.user_id, c.status, c.balance from travel.cards c
            where c.id = u.card_id limit 1) c on true
        left join lateral (select a.id from travel.accounts a where a.card_id = u.card_id limit 1) a on true
        left join lateral (select p.id from travel.recharge_points p where p.id = u.point_id limit 1) p on true
    ), summed as (
        select i.*, (i.balance + sum(i.amount) filter (where i.outcome = 'created')
            over (partition by i.card_id order by i.n))::bigint as balance_after
        from item i
    ), numbered as materialized (
        -- Sorted first, then numbered.
        select s.*, case when s.outcome = 'created' then nextval('travel.recharges_id_seq') end as id
        from summed s order by s.n
    ), done as materialized (
        select m.*, case m.outcome
            when 'created' then jsonb_build_object('recharge_id', m.id, 'card_id', m.card_id, 'user_id', m.user_id,
                'amount', m.amount, 'balance', m.balance_after, 'created_at', v_at)
            when 'point_not_found' then jsonb_build_object('recharge_point_id', m.point_id)
            else jsonb_build_object('card_id', m.card_id) end as reply
        from numbered m
    ), balances as (
        update travel.cards c set balance = b.balance_after
        from (select distinct on (d.card_id) d.card_id, d.balance_after from done d
            where d.outcome = 'created' order by d.card_id, d.n desc) b
        where c.id = b.card_id
    ), recharges as (
        insert into travel.recharges (id, card_id, user_id, recharge_point_id, amount, balance_after, created_at)
        select d.id, d.card_id, d.user_id, d.point_id, d.amount, d.balance_after, v_now from done d
        where d.outcome = 'created'
    ), entries as (
        insert into travel.ledger_entries (debit_account, credit_account, amount, kind, reference, created_at)
        select 1, d.account, d.amount, 'recharge', d.id, v_now from done d where d.outcome = 'created'
    ), events as (
        insert into travel.outbox (topic, payload)
        select 'recharges', jsonb_build_object('type', 'recharge', 'recharge_id', d.id, 'card_id', d.card_id,
            'user_id', d.user_id, 'amount', d.amount, 'balance', d.balance_after)
        from done d where d.outcome = 'created'
    ), seen as (
        -- To the hour is enough for "active users", and spares a write; who is being written to now is seen now.
        update travel.users u set last_active_at = v_now
        where u.id = any(array(select s.id from travel.users s
            where s.id = any(array(select d.user_id from done d where d.outcome = 'created'))
              and s.last_active_at < v_now - interval '1 hour'
            for no key update skip locked))
    ), claims as (
        insert into travel.idempotency_claims (caller, route, key, body_hash, outcome, reply)
        select d.caller, 'recharge', d.key, d.body_hash, d.outcome, d.reply from done d
        where d.key is not null and d.outcome <> 'busy'
    )
    select array_agg(d.outcome), array_agg(d.reply) into v_outcomes, v_made from done d;

    if v_known is null then
        return query select u.outcome, u.reply, false from unnest(v_outcomes, v_made) u (outcome, reply);
    else
        return query select a.outcome, a.reply, a.replayed
            from travel.answer_many(p_callers, p_keys, p_body_hashes, v_known, v_replies, v_leaders, v_outcomes, v_made) a;
    end if;
end $$;

-- created | card_not_found | card_blocked | route_not_found | station_not_found | insufficient_balance | busy
--
-- A paid boarding opens a window of 110 minutes in which up to two further boardings are free transfers. A route that costs
-- nothing (a feeder) neither opens a window nor uses a transfer. What a boarding costs depends on those before it, so several
-- of one card are done in rounds, the first of each card together.
create function travel.board_many(
    p_callers text[], p_keys text[], p_body_hashes bytea[],
    p_card_ids bigint[], p_route_ids bigint[], p_station_ids bigint[], p_wait boolean default true
) returns table (outcome text, reply jsonb, replayed boolean)
language plpgsql
set plan_cache_mode = force_generic_plan set enable_hashjoin = off set enable_mergejoin = off set enable_seqscan = off
set lock_timeout = '250ms'
as $$
#variable_conflict use_column
declare
    v_known text[];
    v_replies jsonb[];
    v_leaders integer[];
    v_rounds integer[];
    v_cards bigint[];
    v_locked bigint[];
    v_now timestamptz;
    v_at text;
    v_outcomes text[] := array_fill(null::text, array[cardinality(p_card_ids)]);
    v_made jsonb[] := array_fill(null::jsonb, array[cardinality(p_card_ids)]);
    v_item record;
begin
    if cardinality(array_remove(p_keys, null)) > 0 then
        select c.outcomes, c.replies, c.leaders into v_known, v_replies, v_leaders
            from travel.claim_many('board', p_callers, p_keys, p_body_hashes) c;
    end if;

    select array_agg(s.round), array_agg(s.card) filter (where s.round is not null) into v_rounds, v_cards
    from (
        select u.card, case when u.known is null and u.leader is null then
            count(*) filter (where u.known is null and u.leader is null) over (partition by u.card order by u.n) end as round
        from unnest(p_card_ids, v_known, v_leaders) with ordinality u (card, known, leader, n)
        order by u.n
    ) s;
    if p_wait then
        perform from travel.cards c where c.id = any(v_cards) order by c.id for no key update;
        v_locked := v_cards;
    else
        v_locked := array(select c.id from travel.cards c where c.id = any(v_cards)
            order by c.id for no key update skip locked);
    end if;

    for v_round in 1 .. coalesce((select max(r) from unnest(v_rounds) r), 0) loop
        v_now := clock_timestamp();
        v_at := travel.rfc3339(v_now);
        for v_item in
            with item as (
                select u.n, u.caller, u.key, u.body_hash, u.card_id, u.route_id, u.station_id,
                       c.id as card, c.user_id, c.status, c.balance, a.id as account, r.fare as full_fare,
                       s.route_id as served, coalesce(r.fare > 0 and w.paid_at is not null and w.used < 2, false) as transfer
                from unnest(p_callers, p_keys, p_body_hashes, p_card_ids, p_route_ids, p_station_ids, v_rounds)
                    with ordinality u (caller, key, body_hash, card_id, route_id, station_id, round, n)
                left join lateral (select c.id, c.user_id, c.status, c.balance from travel.cards c
                    where c.id = u.card_id limit 1) c on true
                left join lateral (select a.id from travel.accounts a where a.card_id = u.card_id limit 1) a on true
                left join lateral (select r.fare from travel.routes r where r.id = u.route_id limit 1) r on true
                left join lateral (select s.route_id from travel.route_stations s
                    where s.station_id = u.station_id and s.route_id = u.route_id limit 1) s on true
                left join lateral (
                    select p.boarded_at as paid_at, (select count(*) from travel.trips t
                        where t.card_id = u.card_id and t.transfer and t.boarded_at > p.boarded_at) as used
                    from travel.trips p
                    where p.card_id = u.card_id and p.fare > 0 and p.boarded_at > v_now - interval '110 minutes'
                    order by p.boarded_at desc limit 1) w on true
                where u.round = v_round
            ), priced as (
                select i.*, case when i.transfer then 0 else i.full_fare end as fare from item i
            ), judged as (
                select i.*, case
                    when i.card is null then 'card_not_found'
                    when not (i.card = any(v_locked)) then 'busy'
                    when i.status <> 'active' then 'card_blocked'
                    when i.full_fare is null then 'route_not_found'
                    when i.served is null then 'station_not_found'
                    when i.balance < i.fare then 'insufficient_balance'
                    else 'created' end as outcome
                from priced i
            ), numbered as materialized (
                select j.*, j.balance - j.fare as balance_after,
                       case when j.outcome = 'created' then nextval('travel.trips_id_seq') end as id
                from judged j
            ), done as materialized (
                select m.*, case m.outcome
                    when 'created' then jsonb_build_object('trip_id', m.id, 'card_id', m.card_id, 'user_id', m.user_id,
                        'route_id', m.route_id, 'station_id', m.station_id, 'fare', m.fare, 'transfer', m.transfer,
                        'balance', m.balance_after, 'boarded_at', v_at)
                    when 'insufficient_balance' then
                        jsonb_build_object('card_id', m.card_id, 'balance', m.balance, 'fare', m.fare)
                    when 'route_not_found' then jsonb_build_object('route_id', m.route_id)
                    when 'station_not_found' then jsonb_build_object('station_id', m.station_id, 'route_id', m.route_id)
                    else jsonb_build_object('card_id', m.card_id) end as reply
                from numbered m
            ), balances as (
                update travel.cards c set balance = d.balance_after from done d
                where c.id = d.card_id and d.outcome = 'created' and d.fare > 0
            ), trips as (
                insert into travel.trips (id, card_id, route_id, station_id, fare, transfer, balance_after, boarded_at)
                select d.id, d.card_id, d.route_id, d.station_id, d.fare, d.transfer, d.balance_after, v_now from done d
                where d.outcome = 'created'
            ), entries as (
                insert into travel.ledger_entries (debit_account, credit_account, amount, kind, reference, created_at)
                select d.account, 2, d.fare, 'fare', d.id, v_now from done d where d.outcome = 'created' and d.fare > 0
            ), seen as (
                update travel.users u set last_active_at = v_now
                where u.id = any(array(select s.id from travel.users s
                    where s.id = any(array(select d.user_id from done d where d.outcome = 'created'))
                      and s.last_active_at < v_now - interval '1 hour'
                    for no key update skip locked))
            ), claims as (
                insert into travel.idempotency_claims (caller, route, key, body_hash, outcome, reply)
                select d.caller, 'board', d.key, d.body_hash, d.outcome, d.reply from done d
                where d.key is not null and d.outcome <> 'busy'
            )
            select d.n, d.outcome, d.reply from done d
        loop
            v_outcomes[v_item.n] := v_item.outcome;
            v_made[v_item.n] := v_item.reply;
        end loop;
    end loop;

    if v_known is null then
        return query select u.outcome, u.reply, false from unnest(v_outcomes, v_made) u (outcome, reply);
    else
        return query select a.outcome, a.reply, a.replayed
            from travel.answer_many(p_callers, p_keys, p_body_hashes, v_known, v_replies, v_leaders, v_outcomes, v_made) a;
    end if;
end $$;
