-- The writes: each call is one transaction that claims the idempotency key, has its effect, leaves its event in the outbox
-- and keeps its answer.
--
-- All of them take (p_caller, p_key, p_body_hash, ...) and give one row (outcome, reply, replayed). No key, no claim.
--   in_progress  the same caller's same key is being worked on right now by another transaction; nothing is kept
--   key_reused   the key was used before with another body; nothing is kept
-- Every other outcome, refusals too, is kept and replayed. They need READ COMMITTED: each statement must see what was
-- committed while an earlier one waited for a lock.

-- RFC 3339 in UTC with microseconds.
create function travel.rfc3339(p_at timestamptz) returns text language sql stable parallel safe as $$
    select to_char(p_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
$$;

-- No row: go on. A row: this is the answer.
create function travel.claimed(p_caller text, p_route text, p_key text, p_body_hash bytea)
returns table (outcome text, reply jsonb, replayed boolean) language plpgsql as $$
declare
    v_claim travel.idempotency_claims;
begin
    if not pg_try_advisory_xact_lock(hashtextextended(jsonb_build_array('travel', p_caller, p_route, p_key)::text, 0)) then
        return query select 'in_progress', '{}'::jsonb, false;
        return;
    end if;
    select * into v_claim from travel.idempotency_claims c
        where c.caller = p_caller and c.route = p_route and c.key = p_key;
    if not found then
        return;
    elsif v_claim.body_hash is distinct from p_body_hash then
        return query select 'key_reused', '{}'::jsonb, false;
    else
        return query select v_claim.outcome, v_claim.reply, true;
    end if;
end $$;

create function travel.keep_claim(p_caller text, p_route text, p_key text, p_body_hash bytea, p_outcome text, p_reply jsonb)
returns void language sql as $$
    insert into travel.idempotency_claims (caller, route, key, body_hash, outcome, reply)
    values (p_caller, p_route, p_key, p_body_hash, p_outcome, p_reply)
$$;

-- created | card_not_found | card_blocked | point_not_found
create function travel.recharge(
    p_caller text, p_key text, p_body_hash bytea,
    p_card_id bigint, p_amount bigint, p_recharge_point_id bigint,
    out outcome text, out reply jsonb, out replayed boolean
) language plpgsql as $$
declare
    v_card travel.cards;
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
        insert into travel.ledger_entries (debit_account, credit_account, amount, kind, reference, created_at)
            select 1, a.id, p_amount, 'recharge', v_id, v_now from travel.accounts a where a.card_id = p_card_id;
        insert into travel.outbox (topic, payload) values ('recharges', jsonb_build_object(
            'type', 'recharge', 'recharge_id', v_id, 'card_id', p_card_id, 'user_id', v_card.user_id,
            'amount', p_amount, 'balance', v_card.balance));
        -- To the hour is enough for "active users", and spares a write.
        update travel.users u set last_active_at = v_now
            where u.id = v_card.user_id and u.last_active_at < v_now - interval '1 hour';
        outcome := 'created';
        reply := jsonb_build_object('recharge_id', v_id, 'card_id', p_card_id, 'user_id', v_card.user_id,
            'amount', p_amount, 'balance', v_card.balance, 'created_at', travel.rfc3339(v_now));
    end if;

    if p_key is not null then
        perform travel.keep_claim(p_caller, 'recharge', p_key, p_body_hash, outcome, reply);
    end if;
end $$;

-- created | card_not_found | card_blocked | route_not_found | station_not_found | insufficient_balance
--
-- A paid boarding opens a window of 110 minutes in which up to two further boardings are free transfers. A route that costs
-- nothing (a feeder) neither opens a window nor uses a transfer.
create function travel.board(
    p_caller text, p_key text, p_body_hash bytea,
    p_card_id bigint, p_route_id bigint, p_station_id bigint,
    out outcome text, out reply jsonb, out replayed boolean
) language plpgsql as $$
declare
    v_card travel.cards;
    v_now timestamptz;
    v_fare bigint;
    v_paid_at timestamptz;
    v_transfer boolean := false;
    v_id bigint;
begin
    if p_key is not null then
        select c.outcome, c.reply, c.replayed into outcome, reply, replayed
            from travel.claimed(p_caller, 'board', p_key, p_body_hash) c;
        if found then
            return;
        end if;
    end if;
    replayed := false;

    select * into v_card from travel.cards c where c.id = p_card_id for no key update;
    v_now := clock_timestamp();
    select r.fare into v_fare from travel.routes r where r.id = p_route_id;
    if v_card.id is null then
        outcome := 'card_not_found';
        reply := jsonb_build_object('card_id', p_card_id);
    elsif v_card.status <> 'active' then
        outcome := 'card_blocked';
        reply := jsonb_build_object('card_id', p_card_id);
    elsif v_fare is null then
        outcome := 'route_not_found';
        reply := jsonb_build_object('route_id', p_route_id);
    elsif not exists (select from travel.route_stations s where s.station_id = p_station_id and s.route_id = p_route_id) then
        outcome := 'station_not_found';
        reply := jsonb_build_object('station_id', p_station_id, 'route_id', p_route_id);
    else
        if v_fare > 0 then
            select t.boarded_at into v_paid_at from travel.trips t
                where t.card_id = p_card_id and t.fare > 0 and t.boarded_at > v_now - interval '110 minutes'
                order by t.boarded_at desc limit 1;
            v_transfer := found and 2 > (select count(*) from travel.trips t
                where t.card_id = p_card_id and t.transfer and t.boarded_at > v_paid_at);
            if v_transfer then
                v_fare := 0;
            end if;
        end if;
        if v_card.balance < v_fare then
            outcome := 'insufficient_balance';
            reply := jsonb_build_object('card_id', p_card_id, 'balance', v_card.balance, 'fare', v_fare);
        else
            if v_fare > 0 then
                update travel.cards c set balance = c.balance - v_fare where c.id = p_card_id
                    returning c.balance into v_card.balance;
            end if;
            insert into travel.trips (card_id, route_id, station_id, fare, transfer, balance_after, boarded_at)
                values (p_card_id, p_route_id, p_station_id, v_fare, v_transfer, v_card.balance, v_now)
                returning id into v_id;
            if v_fare > 0 then
                insert into travel.ledger_entries (debit_account, credit_account, amount, kind, reference, created_at)
                    select a.id, 2, v_fare, 'fare', v_id, v_now from travel.accounts a where a.card_id = p_card_id;
            end if;
            update travel.users u set last_active_at = v_now
                where u.id = v_card.user_id and u.last_active_at < v_now - interval '1 hour';
            outcome := 'created';
            reply := jsonb_build_object('trip_id', v_id, 'card_id', p_card_id, 'user_id', v_card.user_id,
                'route_id', p_route_id, 'station_id', p_station_id, 'fare', v_fare, 'transfer', v_transfer,
                'balance', v_card.balance, 'boarded_at', travel.rfc3339(v_now));
        end if;
    end if;

    if p_key is not null then
        perform travel.keep_claim(p_caller, 'board', p_key, p_body_hash, outcome, reply);
    end if;
end $$;

-- ended | trip_not_found | station_not_found | already_ended
--
-- Any station will do: inside the paid zone one changes between trunk routes without boarding again. The trip is part of
-- what the key stands for, although it is not in the body.
create function travel.end_trip(
    p_caller text, p_key text, p_body_hash bytea,
    p_trip_id bigint, p_station_id bigint,
    out outcome text, out reply jsonb, out replayed boolean
) language plpgsql as $$
declare
    v_hash bytea := sha256(coalesce(p_body_hash, '') || int8send(p_trip_id));
    v_trip travel.trips;
    v_user_id bigint;
begin
    if p_key is not null then
        select c.outcome, c.reply, c.replayed into outcome, reply, replayed
            from travel.claimed(p_caller, 'end_trip', p_key, v_hash) c;
        if found then
            return;
        end if;
    end if;
    replayed := false;

    select * into v_trip from travel.trips t where t.id = p_trip_id for no key update;
    if v_trip.id is null then
        outcome := 'trip_not_found';
        reply := jsonb_build_object('trip_id', p_trip_id);
    elsif not exists (select from travel.stations s where s.id = p_station_id) then
        outcome := 'station_not_found';
        reply := jsonb_build_object('station_id', p_station_id);
    else
        if v_trip.ended_at is null then
            -- Never before the boarding, even if the clock was set back in between.
            update travel.trips t
                set ended_at = greatest(clock_timestamp(), t.boarded_at), alight_station_id = p_station_id
                where t.id = p_trip_id returning * into v_trip;
            outcome := 'ended';
        else
            outcome := 'already_ended';
        end if;
        select c.user_id into v_user_id from travel.cards c where c.id = v_trip.card_id;
        reply := jsonb_build_object('trip_id', v_trip.id, 'card_id', v_trip.card_id, 'user_id', v_user_id,
            'route_id', v_trip.route_id, 'station_id', v_trip.station_id, 'fare', v_trip.fare,
            'transfer', v_trip.transfer, 'balance', v_trip.balance_after,
            'boarded_at', travel.rfc3339(v_trip.boarded_at),
            'ended_at', travel.rfc3339(v_trip.ended_at), 'alight_station_id', v_trip.alight_station_id);
    end if;

    if p_key is not null then
        perform travel.keep_claim(p_caller, 'end_trip', p_key, v_hash, outcome, reply);
    end if;
end $$;

-- Tutoring -----------------------------------------------------------------------------------------------------------

create function tutoring.rfc3339(p_at timestamptz) returns text language sql stable parallel safe as $$
    select to_char(p_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
$$;

-- The first full hour at or after p_at.
create function tutoring.full_hour(p_at timestamptz) returns timestamptz language sql stable parallel safe as $$
    select date_trunc('hour', p_at + interval '1 hour' - interval '1 microsecond', 'UTC')
$$;

-- Where a session of that length fits first, and the hour until which the calendar is full. The tutor must be locked.
create function tutoring.next_free_slot(
    p_tutor_id bigint, p_from timestamptz, p_length interval,
    out starts_at timestamptz, out full_until timestamptz
) language plpgsql as $$
declare
    v_busy_until timestamptz;
    v_next timestamptz;
begin
    starts_at := tutoring.full_hour(p_from);
    loop
        -- Sessions never overlap, so only the last one to start by then can cover that hour.
        select b.ends_at into v_busy_until from tutoring.bookings b
            where b.tutor_id = p_tutor_id and b.starts_at <= next_free_slot.starts_at
            order by b.starts_at desc limit 1;
        if v_busy_until > starts_at then
            starts_at := tutoring.full_hour(v_busy_until);
            continue;
        end if;
        full_until := coalesce(full_until, starts_at);
        select b.starts_at into v_next from tutoring.bookings b
            where b.tutor_id = p_tutor_id and b.starts_at > next_free_slot.starts_at
            order by b.starts_at limit 1;
        exit when v_next is null or v_next >= starts_at + p_length;
        starts_at := starts_at + interval '1 hour';
    end loop;
end $$;

-- created | student_not_found | tutor_not_found | overlap
--
-- Without p_starts_at: the tutor's next free slot, on the hour, from the next full hour on.
create function tutoring.book(
    p_caller text, p_key text, p_body_hash bytea,
    p_student_id bigint, p_tutor_id bigint, p_starts_at timestamptz, p_minutes integer,
    out outcome text, out reply jsonb, out replayed boolean
) language plpgsql as $$
declare
    v_claim tutoring.idempotency_claims;
    v_student text;
    v_tutor tutoring.tutors;
    v_length interval := make_interval(mins => p_minutes);
    v_starts_at timestamptz := p_starts_at;
    v_full_until timestamptz;
    v_id bigint;
begin
    if p_key is not null then
        if not pg_try_advisory_xact_lock(hashtextextended(jsonb_build_array('tutoring', p_caller, 'book', p_key)::text, 0)) then
            outcome := 'in_progress';
            reply := '{}';
            replayed := false;
            return;
        end if;
        select * into v_claim from tutoring.idempotency_claims c
            where c.caller = p_caller and c.route = 'book' and c.key = p_key;
        if found then
            replayed := v_claim.body_hash is not distinct from p_body_hash;
            outcome := case when replayed then v_claim.outcome else 'key_reused' end;
            reply := case when replayed then v_claim.reply else '{}' end;
            return;
        end if;
    end if;
    replayed := false;

    select s.name into v_student from tutoring.students s where s.id = p_student_id;
    -- One booking of a tutor at a time: what is free when looked at is free when taken.
    select * into v_tutor from tutoring.tutors t where t.id = p_tutor_id for no key update;
    if v_student is null then
        outcome := 'student_not_found';
        reply := jsonb_build_object('student_id', p_student_id);
    elsif v_tutor.id is null then
        outcome := 'tutor_not_found';
        reply := jsonb_build_object('tutor_id', p_tutor_id);
    else
        if p_starts_at is null then
            select f.starts_at, f.full_until into v_starts_at, v_full_until
                from tutoring.next_free_slot(p_tutor_id, greatest(
                    date_trunc('hour', clock_timestamp(), 'UTC') + interval '1 hour', v_tutor.full_until), v_length) f;
            update tutoring.tutors t set full_until = v_full_until
                where t.id = p_tutor_id and t.full_until < v_full_until;
        end if;
        if exists (select from tutoring.bookings b where b.tutor_id = p_tutor_id
            and tstzrange(b.starts_at, b.ends_at) && tstzrange(v_starts_at, v_starts_at + v_length)) then
            outcome := 'overlap';
            reply := jsonb_build_object('tutor_id', p_tutor_id, 'starts_at', tutoring.rfc3339(v_starts_at),
                'ends_at', tutoring.rfc3339(v_starts_at + v_length));
        else
            insert into tutoring.bookings (student_id, tutor_id, starts_at, ends_at)
                values (p_student_id, p_tutor_id, v_starts_at, v_starts_at + v_length)
                returning id into v_id;
            insert into tutoring.outbox (topic, payload) values ('bookings', jsonb_build_object(
                'type', 'booking', 'booking_id', v_id, 'student_id', p_student_id, 'student', v_student,
                'tutor_id', p_tutor_id, 'tutor', v_tutor.name, 'subject', v_tutor.subject,
                'starts_at', tutoring.rfc3339(v_starts_at), 'ends_at', tutoring.rfc3339(v_starts_at + v_length)));
            outcome := 'created';
            reply := jsonb_build_object('booking_id', v_id, 'student_id', p_student_id, 'tutor_id', p_tutor_id,
                'starts_at', tutoring.rfc3339(v_starts_at), 'ends_at', tutoring.rfc3339(v_starts_at + v_length));
        end if;
    end if;

    if p_key is not null then
        insert into tutoring.idempotency_claims (caller, route, key, body_hash, outcome, reply)
            values (p_caller, 'book', p_key, p_body_hash, book.outcome, book.reply);
    end if;
end $$;

-- Long tasks ---------------------------------------------------------------------------------------------------------

-- accepted. p_payload is the task itself, any JSON value.
create function worker.submit(
    p_caller text, p_key text, p_body_hash bytea, p_payload jsonb,
    out outcome text, out reply jsonb, out replayed boolean
) language plpgsql as $$
declare
    v_claim worker.idempotency_claims;
    v_id bigint;
begin
    if p_key is not null then
        if not pg_try_advisory_xact_lock(hashtextextended(jsonb_build_array('worker', p_caller, 'submit', p_key)::text, 0)) then
            outcome := 'in_progress';
            reply := '{}';
            replayed := false;
            return;
        end if;
        select * into v_claim from worker.idempotency_claims c
            where c.caller = p_caller and c.route = 'submit' and c.key = p_key;
        if found then
            replayed := v_claim.body_hash is not distinct from p_body_hash;
            outcome := case when replayed then v_claim.outcome else 'key_reused' end;
            reply := case when replayed then v_claim.reply else '{}' end;
            return;
        end if;
    end if;
    replayed := false;

    insert into worker.tasks (payload) values (p_payload) returning id into v_id;
    insert into worker.outbox (topic, payload)
        values ('tasks', jsonb_build_object('task_id', v_id, 'task', p_payload));
    outcome := 'accepted';
    reply := jsonb_build_object('task_id', v_id);

    if p_key is not null then
        insert into worker.idempotency_claims (caller, route, key, body_hash, outcome, reply)
            values (p_caller, 'submit', p_key, p_body_hash, submit.outcome, submit.reply);
    end if;
end $$;
