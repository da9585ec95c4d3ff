-- A group finds the users that were quiet where it locks their cards anyhow, instead of looking all of them up once more.
--
-- As before:
-- created | card_not_found | card_blocked | point_not_found | busy
create or replace function travel.recharge_many(
    p_callers text[], p_keys text[], p_body_hashes bytea[],
    p_card_ids bigint[], p_amounts bigint[], p_recharge_point_ids bigint[], p_wait boolean, p_traceparents text[]
) returns table (outcome text, reply jsonb, replayed boolean, registered jsonb)
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
    v_owners bigint[];
    v_quiet bigint[];
    v_owner bigint;
    v_alone boolean := true;
    v_now timestamptz;
    v_at text;
    v_outcomes text[];
    v_made jsonb[];
    v_registered jsonb;
begin
    if cardinality(array_remove(p_keys, null)) > 0 then
        select c.outcomes, c.replies, c.leaders into v_known, v_replies, v_leaders
            from travel.claim_many('recharge', p_callers, p_keys, p_body_hashes) c;
    end if;

    v_cards := array(select u.card from unnest(p_card_ids, v_known, v_leaders) u (card, known, leader)
        where u.known is null and u.leader is null);
    if p_wait then
        select array_agg(l.id), array_agg(l.user_id), array_agg(l.user_id) filter (where l.quiet)
            into v_locked, v_owners, v_quiet
        from (select c.id, c.user_id, u.last_active_at < clock_timestamp() - interval '1 hour' as quiet
            from travel.cards c join travel.users u on u.id = c.user_id where c.id = any(v_cards)
            order by c.id for no key update of c) l;
    else
        select array_agg(l.id), array_agg(l.user_id), array_agg(l.user_id) filter (where l.quiet)
            into v_locked, v_owners, v_quiet
        from (select c.id, c.user_id, u.last_active_at < clock_timestamp() - interval '1 hour' as quiet
            from travel.cards c join travel.users u on u.id = c.user_id where c.id = any(v_cards)
            order by c.id for no key update of c skip locked) l;
    end if;
    if v_owners is not null then
        foreach v_owner in array v_owners loop
            v_alone := v_alone
                and pg_try_advisory_xact_lock(hashtext('travel.cached_keys'), (v_owner & 2147483647)::integer);
        end loop;
    end if;
    -- After the locks, so that times on one card follow the order of its balances.
    v_now := clock_timestamp();
    v_at := travel.rfc3339(v_now);

    with item as (
        select u.n, u.caller, u.key, u.body_hash, u.card_id, u.amount, u.point_id, u.traceparent,
               c.user_id, c.balance, a.id as account,
               case when u.known is not null or u.leader is not null then null
                    when c.id is null then 'card_not_found'
                    when u.card_id = any(v_locked) is not true then 'busy'
                    when c.status <> 'active' then 'card_blocked'
                    when u.point_id is not null and p.id is null then 'point_not_found'
                    else 'created' end as outcome
        from unnest(p_callers, p_keys, p_body_hashes, p_card_ids, p_amounts, p_recharge_point_ids, p_traceparents,
            v_known, v_leaders)
            with ordinality u (caller, key, body_hash, card_id, amount, point_id, traceparent, known, leader, n)
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
        insert into travel.outbox (topic, payload, traceparent)
        select 'recharges', (d.reply - 'created_at') || '{"type": "recharge"}', d.traceparent
        from done d where d.outcome = 'created'
    ), seen as (
        -- To the hour is enough for "active users", and spares a write; who is being written to now is seen now.
        update travel.users u set last_active_at = v_now
        where u.id = any(array(select s.id from travel.users s
            where s.id = any(v_quiet) and s.last_active_at < v_now - interval '1 hour'
              and s.id in (select d.user_id from done d where d.outcome = 'created')
            for no key update skip locked))
    ), claims as (
        insert into travel.idempotency_claims (caller, route, key, body_hash, outcome, reply)
        select d.caller, 'recharge', d.key, d.body_hash, d.outcome, d.reply from done d
        where d.key is not null and d.outcome <> 'busy'
    )
    -- Together with the look at the register: a later statement than the locks of the owners.
    select array_agg(d.outcome), array_agg(d.reply), case when v_alone then (
        select (select coalesce(jsonb_object_agg(k.key, k.version), '{}') from travel.cached_keys k
            where k.key = any(array(select unnest(travel.recharge_keys(l.card, l.owner))
                from unnest(v_locked, v_owners) l (card, owner))))
        from travel.cached_keys_complete s
        where s.number = 1 and s.since < v_now - travel.longest_cached()) end
    into v_outcomes, v_made, v_registered from done d;

    if cardinality(array_remove(v_known, null)) > 0 or cardinality(array_remove(v_leaders, null)) > 0 then
        return query select a.outcome, a.reply, a.replayed, case when a.n = 1 then v_registered end
            from travel.answer_many(p_callers, p_keys, p_body_hashes, v_known, v_replies, v_leaders, v_outcomes, v_made)
                with ordinality a (outcome, reply, replayed, n);
    else
        return query select u.outcome, u.reply, false, case when u.n = 1 then v_registered end
            from unnest(v_outcomes, v_made) with ordinality u (outcome, reply, n);
    end if;
end $$;
