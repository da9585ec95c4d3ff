-- What `recarga verify` must know and could not find out afterwards.

-- Recharges up to this one came with the city: they are in the ledger, but nobody was told of them.
alter table travel.seed_runs add column last_recharge_id bigint;
update travel.seed_runs s set last_recharge_id =
    coalesce((select max(r.id) from travel.recharges r where r.created_at <= s.finished_at), 0);

create function travel.note_last_seeded_recharge() returns trigger language plpgsql as $$
begin
    new.last_recharge_id := coalesce((select max(r.id) from travel.recharges r), 0);
    return new;
end $$;
create trigger seed_runs_last_recharge before insert on travel.seed_runs
    for each row execute function travel.note_last_seeded_recharge();
