-- What is kept, and for how long. Keys of writes and delivered events are deleted in small steps by the services that own
-- them (kit::retention), page by page from the beginning of the table to its end and again. That needs no index, so a write
-- costs nothing for it, and each step is bounded. Partitions by day would be dropped quicker, but a key could then no longer
-- be unique over all of them: the constraint behind "at most once" is worth more than the deletes cost.
--
-- Events that are deleted stay counted, so that "announced = delivered + pending + dead" can be checked for ever.

create table travel.outbox_pruned (
    topic  text primary key,
    events bigint not null check (events >= 0)
);
create view travel.outbox_account as
    select topic, sum(delivered)::bigint as delivered, sum(pending)::bigint as pending, sum(dead)::bigint as dead
    from (
        select topic, count(*) filter (where state = 'delivered') as delivered,
               count(*) filter (where state = 'pending') as pending, count(*) filter (where state = 'dead') as dead
        from travel.outbox group by topic
        union all
        select topic, events, 0, 0 from travel.outbox_pruned
    ) events group by topic;

create table tutoring.outbox_pruned (
    topic  text primary key,
    events bigint not null check (events >= 0)
);
create view tutoring.outbox_account as
    select topic, sum(delivered)::bigint as delivered, sum(pending)::bigint as pending, sum(dead)::bigint as dead
    from (
        select topic, count(*) filter (where state = 'delivered') as delivered,
               count(*) filter (where state = 'pending') as pending, count(*) filter (where state = 'dead') as dead
        from tutoring.outbox group by topic
        union all
        select topic, events, 0, 0 from tutoring.outbox_pruned
    ) events group by topic;

create table worker.outbox_pruned (
    topic  text primary key,
    events bigint not null check (events >= 0)
);
create view worker.outbox_account as
    select topic, sum(delivered)::bigint as delivered, sum(pending)::bigint as pending, sum(dead)::bigint as dead
    from (
        select topic, count(*) filter (where state = 'delivered') as delivered,
               count(*) filter (where state = 'pending') as pending, count(*) filter (where state = 'dead') as dead
        from worker.outbox group by topic
        union all
        select topic, events, 0, 0 from worker.outbox_pruned
    ) events group by topic;
