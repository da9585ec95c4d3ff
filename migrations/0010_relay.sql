-- Several relays at a time, each event in its place: an outbox is divided into shards by what an event is about (a card, a
-- tutor, a task), and a relay works on shards that no other works on. Events of one shard leave in the order of their ids,
-- which for one card, tutor or task is the order of the commits, because its row is locked while the id is drawn.

alter table travel.outbox add column shard smallint not null generated always as (
    (abs(coalesce((payload->>'card_id')::bigint, (payload->>'tutor_id')::bigint, (payload->>'task_id')::bigint, 0)) % 16)::smallint
) stored;
drop index travel.outbox_pending;
create index outbox_pending on travel.outbox (shard, id) where state = 'pending';

alter table tutoring.outbox add column shard smallint not null generated always as (
    (abs(coalesce((payload->>'card_id')::bigint, (payload->>'tutor_id')::bigint, (payload->>'task_id')::bigint, 0)) % 16)::smallint
) stored;
drop index tutoring.outbox_pending;
create index outbox_pending on tutoring.outbox (shard, id) where state = 'pending';

alter table worker.outbox add column shard smallint not null generated always as (
    (abs(coalesce((payload->>'card_id')::bigint, (payload->>'tutor_id')::bigint, (payload->>'task_id')::bigint, 0)) % 16)::smallint
) stored;
drop index worker.outbox_pending;
create index outbox_pending on worker.outbox (shard, id) where state = 'pending';
