-- Where in a trace an event was made, as the W3C's `traceparent` says it, so that whoever takes the event goes on with that trace.
-- The programs that record traces say it in the statement that writes, as a setting of that transaction; whoever does not, be it a
-- program from before, leaves events without one.
alter table travel.outbox add column traceparent text
    default nullif(current_setting('recarga.traceparent', true), '');
alter table tutoring.outbox add column traceparent text
    default nullif(current_setting('recarga.traceparent', true), '');
alter table worker.outbox add column traceparent text
    default nullif(current_setting('recarga.traceparent', true), '');

-- A group has one trace for each of its writes: `recarga.traceparents` is an array in their order. Otherwise as it was.
--
-- created | card_not_found | card_blocked | point_not_found | busy
create or replace function travel.recharge_many(
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
    v_traceparents text[] := nullif(current_setting('recarga.traceparents', true), '')::text[];
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
        insert into travel.outbox (topic, payload, traceparent)
        select 'recharges', jsonb_build_object('type', 'recharge', 'recharge_id', d.id, 'card_id', d.card_id,
            'user_id', d.user_id, 'amount', d.amount, 'balance', d.balance_after), v_traceparents[d.n]
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
