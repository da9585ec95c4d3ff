-- Which keys a cache may hold, so that a write tells the cache only of those. Why this is safe is told in
-- services/travel/src/register.rs; what it needs of PostgreSQL:
--
-- Both tables are unlogged. A registration costs no flush, and a crash leaves them empty: a register that does not say since
-- when it is complete is not, and then all keys count as registered. Everything here needs READ COMMITTED: each statement
-- inside these functions sees what was committed until then, also what was committed after the caller's own query began.
--
-- The lock is one of the advisory locks with two numbers: this register, and the owner of the card. Readers share it, a
-- writer has it alone from its look until its commit. No writer ever waits for it.

create unlogged table travel.cached_keys (
    key           text primary key,
    -- Another one with every registration: a deletion of the one before leaves this one alone.
    version       bigint not null,
    registered_at timestamptz not null
) with (fillfactor = 80);

create unlogged table travel.cached_keys_complete (
    -- One row, found by an index: sequential scans are off below, and a plan that needs one all the same looks so costly that
    -- it would be compiled on every call.
    number smallint primary key default 1 check (number = 1),
    since  timestamptz not null
);

create sequence travel.cached_key_versions;

-- Of a new database nobody can have cached anything. Older ones may still be read by services that register nothing.
insert into travel.cached_keys_complete (since)
    select case when exists (select from travel.cards) then clock_timestamp() else '-infinity' end;

-- No cache serves a value for longer: a day of freshness, a day past it, and an hour for clocks that disagree.
create function travel.longest_cached() returns interval language sql immutable parallel safe as $$
    select interval '49 hours'
$$;

-- Puts a key on the register for a reader of what belongs to this user: true when what is read in a later statement of this
-- transaction may be cached. A reader who meets a writer waits for its commit, but not for long.
create function travel.register_key(p_key text, p_user_id bigint) returns boolean language plpgsql as $$
declare
    v_lock integer := (p_user_id & 2147483647)::integer;
    v_timeout text;
begin
    -- A standby, too, is read only.
    if p_user_id is null or current_setting('transaction_read_only')::boolean then
        return false;
    end if;
    if not pg_try_advisory_xact_lock_shared(hashtext('travel.cached_keys'), v_lock) then
        v_timeout := current_setting('lock_timeout');
        begin
            perform set_config('lock_timeout', '50ms', true);
            perform pg_advisory_xact_lock_shared(hashtext('travel.cached_keys'), v_lock);
        exception when lock_not_available then
            return false;
        end;
        perform set_config('lock_timeout', v_timeout, true);
    end if;
    -- What a crash could lose of this, it loses anyhow.
    perform set_config('synchronous_commit', 'off', true);
    insert into travel.cached_keys as k (key, version, registered_at)
        values (p_key, nextval('travel.cached_key_versions'), clock_timestamp())
        on conflict (key) do update set version = excluded.version, registered_at = excluded.registered_at;
    return true;
end $$;

-- The reads whose keys are registered. Each gives whether it may be cached.

create function travel.read_balance(
    p_key text, p_card_id bigint,
    out registered boolean, out card_id bigint, out balance bigint, out status text
) language plpgsql as $$
begin
    registered := travel.register_key(p_key, (select c.user_id from travel.cards c where c.id = p_card_id));
    select c.id, c.balance, c.status into card_id, balance, status from travel.cards c where c.id = p_card_id;
end $$;

-- One row without an id when there are none.
create function travel.read_history(
    p_key text, p_card_id bigint, p_limit integer, p_before_at timestamptz, p_before_kind text, p_before_id bigint
) returns table (
    registered boolean, known boolean, kind text, id bigint, occurred_at timestamptz, amount bigint, balance_after bigint,
    recharge_point_id bigint, route_id bigint, station_id bigint, transfer boolean, ended_at timestamptz
) language plpgsql rows 20 as $$
#variable_conflict use_column
declare
    v_user_id bigint := (select c.user_id from travel.cards c where c.id = p_card_id);
    v_registered boolean := travel.register_key(p_key, v_user_id);
begin
    return query
        select v_registered, true, h.* from travel.card_history(p_card_id, p_limit, p_before_at, p_before_kind, p_before_id) h;
    if not found then
        return query select v_registered, v_user_id is not null, null::text, null::bigint, null::timestamptz, null::bigint,
            null::bigint, null::bigint, null::bigint, null::bigint, null::boolean, null::timestamptz;
    end if;
end $$;

-- One row without an id when there are none.
create function travel.read_user_recharges(
    p_key text, p_user_id bigint, p_limit bigint, p_before_at timestamptz, p_before_id bigint
) returns table (
    registered boolean, known boolean, recharge_id bigint, card_id bigint, amount bigint, balance bigint,
    recharge_point_id bigint, created_at timestamptz
) language plpgsql rows 20 as $$
#variable_conflict use_column
declare
    v_user_id bigint := (select u.id from travel.users u where u.id = p_user_id);
    v_registered boolean := travel.register_key(p_key, v_user_id);
begin
    return query
        select v_registered, true, r.id, r.card_id, r.amount, r.balance_after, r.recharge_point_id, r.created_at
        from travel.recharges r where r.user_id = p_user_id and (r.created_at, r.id) < (p_before_at, p_before_id)
        order by r.created_at desc, r.id desc limit p_limit;
    if not found then
        return query select v_registered, v_user_id is not null, null::bigint, null::bigint, null::bigint, null::bigint,
            null::bigint, null::timestamptz;
    end if;
end $$;

-- The keys that a recharge makes stale, as services/travel/src/keys.rs names them.
create function travel.recharge_keys(p_card_id bigint, p_user_id bigint) returns text[] language sql immutable parallel safe as $$
    select array['card:' || p_card_id::text || ':balance', 'card:' || p_card_id::text || ':history',
                 'user:' || p_user_id::text || ':recharges']
$$;

-- For whoever has recharged cards of these users in this transaction: which of the keys that became stale are registered.
-- Null when that is not known: then it is all of them. To be called last, for it locks readers out until the commit.
create function travel.registered_keys(
    p_keys text[], p_user_ids bigint[], out keys text[], out versions bigint[]
) language plpgsql set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
declare
    v_user_id bigint;
begin
    if p_user_ids is null then
        return;
    end if;
    foreach v_user_id in array p_user_ids loop
        -- Also of one who is null, because there was no recharge.
        if pg_try_advisory_xact_lock(hashtext('travel.cached_keys'), (v_user_id & 2147483647)::integer) is not true then
            return;
        end if;
    end loop;
    -- A later statement: it sees what those have registered who had the lock before.
    select array_remove(array_agg(k.key), null), array_remove(array_agg(k.version), null) into keys, versions
    from travel.cached_keys_complete s left join travel.cached_keys k on k.key = any(p_keys)
    where s.number = 1 and s.since < clock_timestamp() - travel.longest_cached();
end $$;

-- Takes keys off the register that no cache holds any more, unless they were registered again. What somebody registers at
-- this moment is left out, so that nobody waits for anybody.
create function travel.unregister_keys(p_keys text[], p_versions bigint[]) returns bigint language plpgsql as $$
declare
    v_count bigint;
begin
    perform set_config('synchronous_commit', 'off', true);
    with gone as (
        delete from travel.cached_keys c
        where c.key in (
            select k.key from unnest(p_keys, p_versions) u (key, version)
            join travel.cached_keys k on k.key = u.key and k.version = u.version
            for update of k skip locked)
        returning 1)
    select count(*) into v_count from gone;
    return v_count;
end $$;

-- After a crash: from now on the register is kept again.
create function travel.begin_register() returns void language plpgsql as $$
begin
    if not exists (select from travel.cached_keys_complete) then
        insert into travel.cached_keys_complete (since) values (clock_timestamp()) on conflict do nothing;
    end if;
end $$;
