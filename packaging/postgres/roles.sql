-- A role for each service, which may do what that service does and nothing else. As a superuser, in the database, before the first
-- migration and after every one; it may be run as often as one likes, and changes passwords as well:
--
--   psql -d recarga -v migrator=PASSWORD -v travel=PASSWORD -v booking=PASSWORD -v search=PASSWORD -v notification=PASSWORD \
--        -v worker=PASSWORD -v exercise=PASSWORD -v reader=PASSWORD -f packaging/postgres/roles.sql
--
-- `recarga migrate` and `recarga seed` are then run as recarga_migrator, `recarga serve ROLE` as recarga_ROLE, and `recarga verify`
-- and whoever only looks as recarga_reader.
\set ON_ERROR_STOP on

create temporary table wanted (role text primary key, password text not null);
insert into wanted values
    ('recarga_migrator', :'migrator'), ('recarga_travel', :'travel'), ('recarga_booking', :'booking'),
    ('recarga_search', :'search'), ('recarga_notification', :'notification'), ('recarga_worker', :'worker'),
    ('recarga_exercise', :'exercise'), ('recarga_reader', :'reader');
select format('create role %I', role) from wanted where to_regrole(role) is null \gexec
select format('alter role %I login password %L', role, password) from wanted \gexec
select format('grant connect on database %I to %I', current_database(), role) from wanted \gexec
select format('grant create on database %I to recarga_migrator', current_database()) \gexec
drop table wanted;

-- It keeps a tutor's sessions apart; only a superuser adds it where it is not trusted.
create extension if not exists btree_gist;
revoke create on schema public from public;
grant usage, create on schema public to recarga_migrator;
-- What the server says of itself, for the console.
grant pg_monitor to recarga_travel, recarga_reader;

do $$
declare
    -- A schema, who writes it, who reads it.
    v_plan constant text[] := array[
        array['travel', 'recarga_travel', 'recarga_reader'],
        array['tutoring', 'recarga_booking', 'recarga_search, recarga_reader'],
        array['notification', 'recarga_notification', 'recarga_reader'],
        array['worker', 'recarga_worker', 'recarga_reader']];
    v_row text[];
begin
    foreach v_row slice 1 in array v_plan loop
        if to_regnamespace(v_row[1]) is not null then
            execute format('grant usage on schema %s to %s, %s', v_row[1], v_row[2], v_row[3]);
            execute format('grant select, insert, update, delete on all tables in schema %s to %s', v_row[1], v_row[2]);
            execute format('grant usage, select on all sequences in schema %s to %s', v_row[1], v_row[2]);
            execute format('grant select on all tables in schema %s to %s', v_row[1], v_row[3]);
        end if;
    end loop;
    if to_regclass('notification.booking_states') is not null then
        -- A booking shows whether its notification was sent. Everybody writes times in the same way.
        grant usage on schema notification to recarga_booking;
        grant select on notification.booking_states to recarga_booking;
        grant usage on schema travel to recarga_booking, recarga_worker, recarga_notification, recarga_exercise;
    end if;
    if to_regclass('public._sqlx_migrations') is not null then
        -- Whether the schema fits the program.
        grant select on public._sqlx_migrations, public.recarga_schema to public;
    end if;
end $$;
