-- Recharges that cost less: alone and in groups they look at the register of cached keys themselves, in a statement that they
-- make anyhow; they are told the trace of their event instead of finding it in a setting; and what is written for each is
-- checked once instead of twice.

-- One check instead of two of every recharge, and a stricter one: its user is the one whose card it is.
alter table travel.cards add constraint cards_of_users unique (user_id, id);
drop index travel.cards_user;
alter table travel.recharges add constraint recharges_card_of_user
    foreign key (user_id, card_id) references travel.cards (user_id, id);
alter table travel.recharges drop constraint recharges_card_id_fkey, drop constraint recharges_user_id_fkey;

-- Nobody looks for an event by its id, which is random: each insertion was on another page of this index. Consumers keep what
-- they have seen in tables of their own.
alter table travel.outbox drop constraint outbox_event_id_key;
alter table tutoring.outbox drop constraint outbox_event_id_key;
alter table worker.outbox drop constraint outbox_event_id_key;

-- A look by a key, whatever the statistics were when it was planned: a table that was nearly empty then is large a minute later.
alter function travel.claimed(text, text, text, bytea) set enable_seqscan = off;
alter function travel.board(text, text, bytea, bigint, bigint, bigint) set enable_seqscan = off;
alter function travel.end_trip(text, text, bytea, bigint, bigint) set enable_seqscan = off;

-- As before; and `registered`, the keys that caches may hold among those that the recharge makes stale, each with its version;
-- null when that is not known: then it is all of them. For its look the recharge has its owner's lock alone until the commit.
--
-- created | card_not_found | card_blocked | point_not_found
create function travel.recharge(
    p_caller text, p_key text, p_body_hash bytea,
    p_card_id bigint, p_amount bigint, p_recharge_point_id bigint, p_traceparent text,
    out outcome text, out reply jsonb, out replayed boolean, out registered jsonb
) language plpgsql set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
declare
    v_card travel.cards;
    v_alone boolean;
    v_now timestamptz;
    v_id bigint;
begin
    if p_key is not null then
        select c.outcome, c.reply, c.replayed into outcome, reply, replayed
            from travel.claimed(p_caller, 'recharge', p_key, p_body_hash) c;
        if found then
            return;
        end if;
    end if;
    replayed := false;

    select * into v_card from travel.cards c where c.id = p_card_id for no key update;
    -- After the lock, so that times on one card follow the order of its balances.
    v_now := clock_timestamp();
    if v_card.id is null then
        outcome := 'card_not_found';
        reply := jsonb_build_object('card_id', p_card_id);
    elsif v_card.status <> 'active' then
        outcome := 'card_blocked';
        reply := jsonb_build_object('card_id', p_card_id);
    elsif p_recharge_point_id is not null
        and not exists (select from travel.recharge_points p where p.id = p_recharge_point_id) then
        outcome := 'point_not_found';
        reply := jsonb_build_object('recharge_point_id', p_recharge_point_id);
    else
        update travel.cards c set balance = c.balance + p_amount where c.id = p_card_id
            returning c.balance into v_card.balance;
        insert into travel.recharges (card_id, user_id, recharge_point_id, amount, balance_after, created_at)
            values (p_card_id, v_card.user_id, p_recharge_point_id, p_amount, v_card.balance, v_now)
            returning id into v_id;
        v_alone := pg_try_advisory_xact_lock(hashtext('travel.cached_keys'), (v_card.user_id & 2147483647)::integer);
        -- A later statement than the lock: it sees what those have registered who had it before.
        insert into travel.ledger_entries (debit_account, credit_account, amount, kind, reference, created_at)
            select 1, a.id, p_amount, 'recharge', v_id, v_now from travel.accounts a where a.card_id = p_card_id
            returning case when v_alone then (
                select (select coalesce(jsonb_object_agg(k.key, k.version), '{}') from travel.cached_keys k
                    where k.key = any(travel.recharge_keys(p_card_id, v_card.user_id)))
                from travel.cached_keys_complete s
                where s.number = 1 and s.since < v_now - travel.longest_cached()) end
            into registered;
        outcome := 'created';
        reply := jsonb_build_object('recharge_id', v_id, 'card_id', p_card_id, 'user_id', v_card.user_id,
            'amount', p_amount, 'balance', v_card.balance, 'created_at', travel.rfc3339(v_now));
        insert into travel.outbox (topic, payload, traceparent)
            values ('recharges', (reply - 'created_at') || '{"type": "recharge"}', p_traceparent);
        -- To the hour is enough for "active users", and spares a write.
        update travel.users u set last_active_at = v_now
            where u.id = v_card.user_id and u.last_active_at < v_now - interval '1 hour';
    end if;

    if p_key is not null then
        perform travel.keep_claim(p_caller, 'recharge', p_key, p_body_hash, outcome, reply);
    end if;
end $$;

-- For programs from before.
create or replace function travel.recharge(
    p_caller text, p_key text, p_body_hash bytea,
    p_card_id bigint, p_amount bigint, p_recharge_point_id bigint,
    out outcome text, out reply jsonb, out replayed boolean
) language sql as $$
    select r.outcome, r.reply, r.replayed from travel.recharge(p_caller, p_key, p_body_hash, p_card_id, p_amount,
        p_recharge_point_id, nullif(current_setting('recarga.traceparent', true), '')) r
$$;

-- As before; and `registered` as above for all of them together, told with the first.
--
-- created | card_not_found | card_blocked | point_not_found | busy
create function travel.recharge_many(
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
        select array_agg(l.id), array_agg(l.user_id) into v_locked, v_owners
        from (select c.id, c.user_id from travel.cards c where c.id = any(v_cards)
            order by c.id for no key update) l;
    else
        select array_agg(l.id), array_agg(l.user_id) into v_locked, v_owners
        from (select c.id, c.user_id from travel.cards c where c.id = any(v_cards)
            order by c.id for no key update skip locked) l;
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
            where s.id = any(array(select d.user_id from done d where d.outcome = 'created'))
              and s.last_active_at < v_now - interval '1 hour'
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

-- For programs from before.
create or replace function travel.recharge_many(
    p_callers text[], p_keys text[], p_body_hashes bytea[],
    p_card_ids bigint[], p_amounts bigint[], p_recharge_point_ids bigint[], p_wait boolean default true
) returns table (outcome text, reply jsonb, replayed boolean)
language plpgsql
as $$
begin
    return query select r.outcome, r.reply, r.replayed from travel.recharge_many(p_callers, p_keys, p_body_hashes, p_card_ids,
        p_amounts, p_recharge_point_ids, p_wait, nullif(current_setting('recarga.traceparents', true), '')::text[]) r;
end $$;
